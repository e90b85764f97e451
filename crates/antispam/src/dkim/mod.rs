//! DKIM (RFC 6376), with RSA and Ed25519 (RFC 8463): signatures of our domains on letters that leave us, and a look at those
//! of others.
//!
//! [`Signer`] is made once, of the keys of the configuration; it adds one signature for each key of the author's
//! domain. How text is brought into the form that is signed stands in `canonical`, what is looked at in a signature in
//! `verify`, and which of them [`crate::Claims`] looks at.
//!
//! ```
//! use antispam::dkim::{Key, Signer};
//! let key = Key::from_pem("example.test", "s2026", Key::make_ed25519().unwrap().as_bytes()).unwrap();
//! assert!(key.record().text.starts_with("v=DKIM1; k=ed25519; p="));
//! let fields = Signer::new(vec![key]).sign(b"From: a@example.test\r\n\r\nhello\r\n", "example.test", 1_795_370_400);
//! assert!(fields.starts_with("DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.test;"));
//! ```

pub(crate) mod canonical;
mod key;
mod sign;
pub(crate) mod tags;
pub(crate) mod verify;

pub use key::{Error, Key, Record};
pub use sign::{SIGNED, SignedField, Signer};
