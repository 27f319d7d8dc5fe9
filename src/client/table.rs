//! Columns for people.

use super::show::escaped;

/// A table. What comes from elsewhere is escaped, so that nobody's task can write on a terminal.
pub struct Table {
    heads: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads; none for a list of names and values.
    pub fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.iter().map(|cell| escaped(&cell.replace(['\n', '\t'], " ")).into_owned()).collect());
    }

    /// Adds a name and a value, if there is one.
    pub fn entry(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.row([name, value]);
        }
    }

    /// The table as text, a line for each row.
    pub fn text(&self) -> String {
        let heads: Vec<String> = self.heads.iter().map(|head| (*head).to_owned()).collect();
        let lines: Vec<&Vec<String>> =
            Some(&heads).filter(|heads| !heads.is_empty()).into_iter().chain(&self.rows).collect();
        let width =
            |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
        let mut text = String::new();
        for line in &lines {
            let mut row = String::new();
            for (column, cell) in line.iter().enumerate() {
                let gap = width(column).unwrap_or_default() + 2 - cell.chars().count();
                row.push_str(cell);
                row.extend(std::iter::repeat_n(' ', gap));
            }
            text.push_str(row.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them_and_nothing_writes_on_the_terminal() {
        let mut table = Table::new(&["ID", "NAME"]);
        table.row(["1", "a\u{1b}[31m"]);
        table.row(["long", "b\nc"]);
        assert_eq!(table.text(), "ID    NAME\n1     a\\u001b[31m\nlong  b c\n");
        assert_eq!(Table::new(&[]).text(), "");
    }
}
