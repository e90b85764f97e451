//! Password hashes: argon2id (RFC 9106) as PHC strings.
//!
//! The costs are those OWASP names as the least for argon2id: 19 MiB of memory, two passes, one lane.

use crate::Error;
use crate::scram::Verifier;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// RFC 9106 §3.1 recommends 16 bytes.
const SALT_BYTES: usize = 16;
/// A hash from elsewhere may cost more than ours, up to here; the memory is taken at every first login.
const FOREIGN_MEMORY_KIB: u32 = 128 * 1024;
const FOREIGN_PASSES: u32 = 8;

/// Verified against when there is no account, so that it takes the same time. Nobody knows its password: the
/// hash is random bytes.
pub(crate) const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$6oK1v2b0m4s8qYw0Xk3E9g$\
                                f0rJc4p0QmV3nXkq1b5h8y2sLwZt7uEoKdGxNaPiRvU";

/// What is kept of a password: a PHC string (argon2id) with a fresh salt, and after a space what SCRAM checks, if the
/// password may be used with it (RFC 4013). Takes some thirty milliseconds of CPU.
pub fn hash_password(password: &[u8]) -> Result<String, Error> {
    let hash = argon2id(password)?;
    Ok(match Verifier::new(password) {
        Some(verifier) => format!("{hash} {}", verifier.to_text()),
        None => hash,
    })
}

/// The parts of a secret. Those of earlier builds have the first alone.
pub(crate) fn parts(secret: &str) -> (&str, Option<Verifier>) {
    match secret.split_once(' ') {
        Some((hash, verifier)) => (hash, Verifier::parse(verifier)),
        None => (secret, None),
    }
}

fn argon2id(password: &[u8]) -> Result<String, Error> {
    let unavailable = |what: &str| Error::Unavailable(format!("{what}; no password was set"));
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|_| unavailable("the costs of the hash are out of range"))?;
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(|_| unavailable("the system gave no random bytes"))?;
    let hash: PasswordHash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_with_salt(password, &salt)
        .map_err(|_| unavailable("this password cannot be hashed"))?;
    Ok(hash.to_string())
}

/// Whether the PHC string is an argon2 hash whose costs we are ready to pay.
pub(crate) fn is_acceptable(secret: &str) -> bool {
    let Ok(hash) = PasswordHash::new(parts(secret).0) else {
        return false;
    };
    let within = |p: &Params| {
        p.m_cost() <= FOREIGN_MEMORY_KIB && p.t_cost() <= FOREIGN_PASSES && p.p_cost() <= 8
    };
    hash.algorithm.as_str().starts_with("argon2")
        && hash.salt.is_some()
        && hash.hash.is_some()
        && Params::try_from(&hash).as_ref().is_ok_and(within)
}

/// Computes the hash with the costs and the salt of `secret` and compares in constant time.
pub(crate) fn verify(secret: &str, password: &[u8]) -> bool {
    PasswordHash::new(parts(secret).0)
        .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_verify_and_differ() {
        let (a, b) = (hash_password(b"secret").unwrap(), hash_password(b"secret").unwrap());
        assert!(a.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{a}");
        assert_ne!(a, b);
        assert!(parts(&a).1.is_some() && parts("$argon2id$x").1.is_none());
        // What SASLprep refuses is a password all the same.
        let odd = hash_password(b"\x07").unwrap();
        assert!(parts(&odd).1.is_none() && verify(&odd, b"\x07"));
        assert!(is_acceptable(&a) && verify(&a, b"secret") && verify(&b, b"secret"));
        assert!(!verify(&a, b"Secret") && !verify(&a, b""));
    }

    #[test]
    fn the_dummy_costs_what_a_real_one_costs() {
        let costs = |phc: &str| {
            let hash = PasswordHash::new(parts(phc).0).unwrap();
            let params = Params::try_from(&hash).unwrap();
            let lengths = (hash.salt.unwrap().len(), hash.hash.unwrap().as_ref().len());
            (params.m_cost(), params.t_cost(), params.p_cost(), lengths)
        };
        assert_eq!(costs(DUMMY), costs(&hash_password(b"x").unwrap()));
        assert!(is_acceptable(DUMMY) && !verify(DUMMY, b"") && !verify(DUMMY, b"secret"));
    }

    #[test]
    fn foreign_hashes() {
        #[track_caller]
        fn check(secret: &str, acceptable: bool) {
            assert_eq!(is_acceptable(secret), acceptable, "{secret}");
        }
        let tail = "$6oK1v2b0m4s8qYw0Xk3E9g$f0rJc4p0QmV3nXkq1b5h8y2sLwZt7uEoKdGxNaPiRvU";
        check(&format!("$argon2id$v=19$m=65536,t=3,p=4{tail}"), true);
        check(&format!("$argon2i$v=19$m=65536,t=3,p=4{tail}"), true);
        check(&format!("$argon2id$v=19$m=4294967295,t=3,p=4{tail}"), false);
        check(&format!("$argon2id$v=19$m=65536,t=4294967295,p=4{tail}"), false);
        check(&format!("$scrypt$ln=15,r=8,p=1{tail}"), false);
        check("$argon2id$v=19$m=19456,t=2,p=1", false);
        check("$argon2id$v=19$m=19456,t=2,p=1$6oK1v2b0m4s8qYw0Xk3E9g", false);
        check("secret", false);
        check("", false);
    }
}
