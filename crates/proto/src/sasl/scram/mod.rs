//! SCRAM: both sides prove that they know the password, and neither shows it.
//!
//! RFC 5802 (SHA-1), RFC 7677 (SHA-256) and the same with SHA-512, each also with channel binding
//! (-PLUS), and XEP-0474's downgrade protection in the attribute `h`.
//!
//! A server's exchange: [`server::client_first`] → [`server::NeedKeys`] →
//! [`server::ExpectClientFinal`]; a client's: [`client::client_first`] →
//! [`client::ExpectServerFirst`] → [`client::NeedKeys`] → [`client::ExpectServerFinal`].

pub mod client;
mod message;
pub mod server;

#[cfg(test)]
mod tests;
