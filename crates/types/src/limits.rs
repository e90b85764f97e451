//! How much a stranger may ask for. Each limit has its reason beside it.

/// Bounds that every edge keeps before it allocates. Made by `server` from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// One letter. Larger: `552 5.3.4`, `NO [TOOBIG]`. What big providers accept, twice over.
    pub message_bytes: u32,
    /// Recipients in one transaction (RFC 5321 §4.5.3.1.8 wants at least 100). More: `452 4.5.3`.
    pub recipients: u32,
    /// Connections of one listener; more are told to come back and closed.
    pub connections: u32,
    /// One command line of SMTP, LMTP or POP3; longer: `500 5.5.2` (RFC 5321 §4.5.3.1.4 wants 512).
    pub line_bytes: u32,
    /// One IMAP command with its literals, APPEND's message aside.
    pub command_bytes: u32,
    /// The same before login, when a stranger is speaking.
    pub command_bytes_before_login: u32,
    /// Silence after which a connection is closed; RFC 9051 §5.4 wants at least 30 minutes.
    pub idle_timeout_ms: u64,
    /// The same before login.
    pub login_timeout_ms: u64,
    /// How long a peer may leave our answer unread.
    pub write_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 50 * 1024 * 1024,
            recipients: 1000,
            connections: 20_000,
            line_bytes: 4096,
            command_bytes: 64 * 1024,
            command_bytes_before_login: 8 * 1024,
            idle_timeout_ms: 31 * 60 * 1000,
            login_timeout_ms: 60 * 1000,
            write_timeout_ms: 60 * 1000,
        }
    }
}
