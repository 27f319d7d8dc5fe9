//! Real sockets, and targets that misbehave on purpose.

mod connections;
mod harness;
mod hostile;
mod redirects;
mod requests;
mod tls;
