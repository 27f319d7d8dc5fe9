//! Which passwords everybody would try first. A list of millions is not needed for that: take out what is in all of
//! them, and see whether anything is left.

/// What remains must have at least this many characters.
const LEFT_MIN: usize = 6;

/// Words of the most common passwords, without digits and in lower case; longer ones before those they contain.
const WORDS: &[&str] = &[
    "administrator",
    "asyncqueue",
    "basketball",
    "welcome",
    "password",
    "passwort",
    "passwd",
    "qwertyuiop",
    "qwerty",
    "qwertz",
    "azerty",
    "asdfghjkl",
    "asdfgh",
    "asdf",
    "zxcvbnm",
    "zxcvbn",
    "yxcvbnm",
    "abcdefgh",
    "abcdef",
    "abcd",
    "abc",
    "letmein",
    "iloveyou",
    "monkey",
    "dragon",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "master",
    "shadow",
    "superman",
    "batman",
    "trustno",
    "starwars",
    "michael",
    "jennifer",
    "jordan",
    "hunter",
    "charlie",
    "freedom",
    "whatever",
    "secret",
    "changeme",
    "default",
    "default",
    "access",
    "login",
    "admin",
    "root",
    "user",
    "test",
    "guest",
    "hello",
    "summer",
    "winter",
    "spring",
    "autumn",
    "flower",
    "cheese",
    "computer",
    "internet",
    "google",
    "samsung",
    "pokemon",
    "liverpool",
    "arsenal",
    "chelsea",
    "killer",
    "soccer",
    "hockey",
    "ginger",
    "pepper",
    "cookie",
    "banana",
    "orange",
    "company",
    "qazwsx",
    "correcthorsebatterystaple",
    "correct horse battery staple",
    "pass",
    "word",
    "love",
    "qwe",
    "asd",
    "zxc",
    "january",
    "february",
    "march",
    "april",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// Whether little is left of a password without common words, what is known of its owner, and rows of characters.
pub fn is_common<'a>(password: &str, about_owner: impl Iterator<Item = &'a str>) -> bool {
    let mut rest = plain(password);
    let owner = about_owner.map(plain).filter(|word| word.chars().count() >= 3);
    let mut words: Vec<String> = owner.chain(WORDS.iter().map(|word| (*word).to_owned())).collect();
    // The longest first, or its parts would hide it.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    for word in &words {
        rest = rest.replace(word.as_str(), "\n");
    }
    left(&rest) < LEFT_MIN
}

/// In lower case, with letters for the digits and signs that stand for them.
fn plain(text: &str) -> String {
    let letter = |c: char| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    // Digits at the end are mostly just that.
    let body = text.trim_end_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation());
    body.to_lowercase().chars().map(letter).collect()
}

/// How many different characters there are that do not simply follow the one before.
fn left(rest: &str) -> usize {
    let mut seen = std::collections::BTreeSet::new();
    let mut before = '\n';
    let mut counted = 0;
    for c in rest.chars() {
        let follows = c as u32 == before as u32 + 1 || c as u32 + 1 == before as u32 || c == before;
        if c.is_alphanumeric() && !follows {
            counted += 1;
            seen.insert(c);
        }
        before = c;
    }
    // A pattern that repeats a few characters has as little in it.
    if seen.len() < 4 { seen.len() } else { counted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_repetitions_and_famous_phrases_are_common() {
        let common = |password: &str| is_common(password, std::iter::empty());
        for bad in [
            "123456789012",
            "aaaaaaaaaaaa",
            "abababababab",
            "abcdefghijklmnop",
            "zyxwvutsrqpo",
            "Password2026!",
            "P@ssw0rdP@ssw0rd",
            "letmeinletmein",
            "correcthorsebatterystaple",
            "correct horse battery staple",
            "Summer2026Summer",
            "adminadminadmin",
            "qwerty123456",
        ] {
            assert!(common(bad), "{bad}");
        }
        for good in ["otter bicycle moon", "k3x9-vq2m-pz7w", "ich mag keinen Spargel", "pass the purple marmalade"] {
            assert!(!common(good), "{good}");
        }
    }
}
