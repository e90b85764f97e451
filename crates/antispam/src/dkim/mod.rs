//! DKIM: signatures of our domains on letters that leave us (RFC 6376), with RSA and Ed25519 (RFC 8463). Signs only.
//!
//! [`Signer`] is made once, of the keys of the configuration; it adds one signature for each key of the author's
//! domain. How text is brought into the form that is signed stands in `canonical`.
//!
//! ```
//! use antispam::dkim::{Key, Signer};
//! let key = Key::from_pem("example.test", "s2026", Key::make_ed25519().unwrap().as_bytes()).unwrap();
//! assert!(key.record().text.starts_with("v=DKIM1; k=ed25519; p="));
//! let fields = Signer::new(vec![key]).sign(b"From: a@example.test\r\n\r\nhello\r\n", "example.test", 1_795_370_400);
//! assert!(fields.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.test;"));
//! ```

mod canonical;
mod key;
mod sign;

pub use key::{Error, Key, Record};
pub use sign::{SIGNED, SignedField, Signer};
