//! Plain HTTP answers on the broker's port: status and metrics, for load balancers and for monitoring.

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: String,
}

/// Whoever asks for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visitor {
    /// With a certificate that was verified.
    Known,
    /// Without one.
    Unknown,
}

/// Answers `GET` requests that ask for no WebSocket. Called on a worker, so it must not block.
pub trait Pages: Send + Sync {
    /// The answer to a request for `path` (undecoded) with `query` (undecoded, without its question mark), if there is
    /// a page.
    fn page(&self, visitor: Visitor, path: &str, query: &str) -> Option<Page>;
}
