//! What the service tells its operator: logs and metrics. Neither ever holds a body, a key, a token or a callback id.

pub mod logging;
pub mod metrics;
pub mod redact;
