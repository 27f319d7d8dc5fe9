//! Why a URL was refused, in words that may be shown to whoever wrote it.

/// The rule that refused a URL or an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Longer than [`MAX_URL_BYTES`](super::MAX_URL_BYTES).
    #[error("URLs longer than 8192 bytes are not allowed")]
    TooLong,
    /// Some parsers drop these silently, and then two parsers see two URLs.
    #[error("control characters, spaces and backslashes are not allowed in a URL")]
    Character,
    /// Not literally `http://` or `https://`.
    #[error("only absolute http:// and https:// URLs are allowed")]
    Scheme,
    /// Nothing between the slashes and the path.
    #[error("a URL without a host is not allowed")]
    NoHost,
    /// The parser's own words.
    #[error("malformed URL: {0}")]
    Malformed(String),
    /// Credentials in a URL end up in logs.
    #[error("credentials in a URL are not allowed; send an Authorization header instead")]
    Userinfo,
    /// A port on which something other than HTTP listens.
    #[error("port {0} is not allowed")]
    Port(u16),
    /// An address outside the public internet.
    #[error("{shown} are not allowed")]
    Address {
        /// The range's short name.
        rule: &'static str,
        /// The range in plain words, in the plural.
        shown: &'static str,
    },
    /// A cloud's metadata or control address. No allow-list opens these.
    #[error("cloud metadata addresses are not allowed")]
    Metadata,
    /// This service itself. Only naming its host and port opens it.
    #[error("this service's own address is not allowed")]
    Own,
    /// A name without a dot means something only in the operator's own network.
    #[error("names without a dot are not allowed")]
    SingleLabel,
    /// A suffix that no public name has.
    #[error("names under .{0} are not allowed")]
    LocalName(String),
    /// Not a host name that DNS could know.
    #[error("malformed host name")]
    BadName,
    /// What is said after a look-up, whatever the rule was: the answer must not tell what an address is.
    #[error("target address is not allowed")]
    Resolved,
}

impl Refused {
    /// A short, stable identifier, for logs and metrics.
    pub fn rule(&self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Character => "character",
            Self::Scheme => "scheme",
            Self::NoHost => "no_host",
            Self::Malformed(_) => "malformed",
            Self::Userinfo => "userinfo",
            Self::Port(_) => "port",
            Self::Address { rule, .. } => rule,
            Self::Metadata => "metadata",
            Self::Own => "own",
            Self::SingleLabel => "single_label",
            Self::LocalName(_) => "local_name",
            Self::BadName => "bad_name",
            Self::Resolved => "resolved",
        }
    }
}
