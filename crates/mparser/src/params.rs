//! Parameters of RFC 2045 §5.1 and RFC 2231.
