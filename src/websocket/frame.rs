//! The header of a WebSocket frame and the mask of its payload (RFC 6455, sections 5.2 and 5.3).

/// Bytes of the longest header: two, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// Payload of a control frame at most (RFC 6455, 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Which end of the connection we are: clients mask, servers do not (RFC 6455, 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We have accepted the connection.
    Server,
    /// We have dialled it.
    Client,
}

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes on with a message.
    Continuation,
    /// Starts a message of text.
    Text,
    /// Starts a message of bytes.
    Binary,
    /// The last frame of its direction.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Kind {
    /// Whether it is a control frame, which may come between the frames of a message.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    const fn code(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether the message ends with this frame.
    pub is_final: bool,
    /// What the frame is.
    pub kind: Kind,
    /// The key of a masked frame.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload.
    pub length: u64,
}

/// Why a header is not one that the peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderError {
    /// A reserved bit is set; we never agree to an extension.
    ReservedBits,
    /// An opcode without a meaning.
    ReservedOpcode,
    /// A control frame in parts.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A length in more bytes than it needs, or with its top bit set.
    BadLength,
    /// A client's frame without a mask.
    Unmasked,
    /// A server's frame with one.
    Masked,
}

impl Header {
    /// Bytes of the header that starts with `bytes`; 2 as long as that is not known.
    pub fn size(bytes: &[u8]) -> usize {
        let Some(second) = bytes.get(1) else { return 2 };
        let length = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + if second & 0x80 == 0 { 0 } else { 4 }
    }

    /// Reads a header that we get in `role` from the front of `bytes`; `None` if there are too few.
    pub fn parse(bytes: &[u8], role: Role) -> Result<Option<(Self, usize)>, HeaderError> {
        let &[first, second, ..] = bytes else { return Ok(None) };
        // The first two bytes are judged as soon as they are there: a wrong peer need not send more.
        if first & 0x70 != 0 {
            return Err(HeaderError::ReservedBits);
        }
        let kind = Kind::from_code(first & 0x0F).ok_or(HeaderError::ReservedOpcode)?;
        let is_final = first & 0x80 != 0;
        if kind.is_control() && !is_final {
            return Err(HeaderError::FragmentedControl);
        }
        if kind.is_control() && second & 0x7F > 125 {
            return Err(HeaderError::LongControl);
        }
        match (role, second & 0x80 != 0) {
            (Role::Server, false) => return Err(HeaderError::Unmasked),
            (Role::Client, true) => return Err(HeaderError::Masked),
            _ => {}
        }
        let size = Self::size(bytes);
        let Some(header) = bytes.get(..size) else { return Ok(None) };
        let mask_at = if role == Role::Server { size - 4 } else { size };
        let (length, mask) = header[2..].split_at(mask_at - 2);
        let length = match *length {
            [a, b] => minimal(u64::from(u16::from_be_bytes([a, b])), 126)?,
            [a, b, c, d, e, f, g, h] => minimal(u64::from_be_bytes([a, b, c, d, e, f, g, h]), 1 << 16)?,
            _ => u64::from(second & 0x7F),
        };
        let mask = <[u8; 4]>::try_from(mask).ok();
        Ok(Some((Self { is_final, kind, mask, length }, size)))
    }

    /// Appends the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind.code() | if self.is_final { 0x80 } else { 0 });
        let mask_bit = if self.mask.is_some() { 0x80 } else { 0 };
        match self.length {
            0..=125 => out.push(mask_bit | self.length.to_be_bytes()[7]),
            126..=0xFFFF => {
                out.push(mask_bit | 126);
                out.extend_from_slice(&self.length.to_be_bytes()[6..]);
            }
            _ => {
                out.push(mask_bit | 127);
                out.extend_from_slice(&self.length.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |mask| &mask[..]));
    }
}

/// Masks or unmasks `bytes`, which are at `offset` of their frame's payload (RFC 6455, 5.3).
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let at = |i: usize| mask[(offset + i) % 4];
    let mask = [at(0), at(1), at(2), at(3)];
    let wide = u64::from_ne_bytes([mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

fn minimal(length: u64, least: u64) -> Result<u64, HeaderError> {
    if length < least || length > i64::MAX as u64 {
        return Err(HeaderError::BadLength);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = Kind> {
        use Kind::{Binary, Close, Continuation, Ping, Pong, Text};
        prop::sample::select(vec![Continuation, Text, Binary, Close, Ping, Pong])
    }

    proptest! {
        #[test]
        fn headers_survive_the_wire(kind in kinds(), end: bool, mask: [u8; 4], length in 0..=i64::MAX as u64, masked: bool) {
            let length = if kind.is_control() { length % 126 } else { length };
            let role = if masked { Role::Server } else { Role::Client };
            let header = Header { is_final: end || kind.is_control(), kind, mask: masked.then_some(mask), length };
            let mut wire = Vec::new();
            header.write(&mut wire);
            for cut in 0..wire.len() {
                prop_assert_eq!(Header::parse(&wire[..cut], role), Ok(None));
            }
            prop_assert_eq!(Header::parse(&wire, role), Ok(Some((header, wire.len()))));
        }

        #[test]
        fn masking_in_pieces_is_masking(mut bytes: Vec<u8>, mask: [u8; 4], cut: prop::sample::Index) {
            let expected: Vec<u8> = bytes.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]).collect();
            let cut = if bytes.is_empty() { 0 } else { cut.index(bytes.len()) };
            apply_mask(&mut bytes[..cut], mask, 0);
            apply_mask(&mut bytes[cut..], mask, cut);
            prop_assert_eq!(bytes, expected);
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Header::parse(&bytes, Role::Server);
            let _ = Header::parse(&bytes, Role::Client);
        }
    }

    #[test]
    fn every_violation_has_its_error() {
        let server = |bytes: &[u8]| Header::parse(bytes, Role::Server).unwrap_err();
        assert_eq!(server(&[0xC1, 0x80]), HeaderError::ReservedBits);
        assert_eq!(server(&[0xA1, 0x80]), HeaderError::ReservedBits);
        assert_eq!(server(&[0x91, 0x80]), HeaderError::ReservedBits);
        assert_eq!(server(&[0x83, 0x80]), HeaderError::ReservedOpcode);
        assert_eq!(server(&[0x8B, 0x80]), HeaderError::ReservedOpcode);
        assert_eq!(server(&[0x09, 0x80]), HeaderError::FragmentedControl);
        assert_eq!(server(&[0x89, 0xFE]), HeaderError::LongControl);
        assert_eq!(server(&[0x81, 0x00]), HeaderError::Unmasked);
        assert_eq!(server(&[0x82, 0xFE, 0, 125, 1, 2, 3, 4]), HeaderError::BadLength);
        assert_eq!(server(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4]), HeaderError::BadLength);
        assert_eq!(server(&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4]), HeaderError::BadLength);
        assert_eq!(Header::parse(&[0x81, 0x80], Role::Client).unwrap_err(), HeaderError::Masked);
    }
}
