//! The receiving side of an open WebSocket connection without a socket: frames into messages, with every rule of
//! RFC 6455, sections 5 to 8, that a peer can break. A message that lies whole in the input is handed out where it
//! lies; only what is incomplete is copied.

use crate::link::Opcode;
use crate::websocket::frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Kind, Role, apply_mask};
use crate::websocket::violation::{Violation, code};

/// Payload of a control frame; short enough to be passed by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlPayload {
    bytes: [u8; CONTROL_BYTES_MAX],
    length: u8,
}

impl ControlPayload {
    fn new(payload: &[u8]) -> Self {
        let mut bytes = [0; CONTROL_BYTES_MAX];
        bytes[..payload.len()].copy_from_slice(payload);
        Self { bytes, length: payload.len() as u8 }
    }

    /// The payload.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What was found in the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// Nothing whole yet.
    Nothing,
    /// A part of a message ended; the message goes on.
    Fragment,
    /// A whole message where it lies in the input.
    Message(Opcode, &'a [u8]),
    /// A whole message put together from parts.
    Assembled(Opcode, Vec<u8>),
    /// To be answered with a pong of the same payload.
    Ping(ControlPayload),
    /// The answer to a ping.
    Pong,
    /// The peer closes: its code, [`code::NONE`] if it sent none, and its reason.
    Close(u16, Box<str>),
}

/// The receiving side of one connection.
#[derive(Debug)]
pub struct Session {
    role: Role,
    message_bytes_max: usize,
    /// An incomplete header, or a control frame that is not whole: at most 139 bytes.
    stub: Box<[u8]>,
    /// The incomplete message. Boxed because most connections never have one.
    partial: Option<Box<Partial>>,
}

#[derive(Debug)]
struct Partial {
    opcode: Opcode,
    bytes: Vec<u8>,
    /// The data frame of which bytes are still missing; `None` between two frames.
    frame: Option<OpenFrame>,
}

#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    is_final: bool,
    mask: Option<[u8; 4]>,
    missing: usize,
    offset: usize,
}

impl Session {
    /// A session at the start of the first frame. Messages of more than `message_bytes_max` bytes are refused.
    pub fn new(role: Role, message_bytes_max: usize) -> Self {
        Self { role, message_bytes_max, stub: Box::default(), partial: None }
    }

    /// Which end we are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Bytes that are held for what is incomplete.
    pub fn held_bytes(&self) -> usize {
        self.stub.len() + self.partial.as_ref().map_or(0, |partial| partial.bytes.capacity())
    }

    /// By how much [`Session::next`] may grow what is held if it is given so many bytes, at most.
    pub fn growth_max(&self, input: usize) -> usize {
        match &self.partial {
            Some(partial) if partial.bytes.len() + input <= partial.bytes.capacity() => 0,
            Some(partial) => partial.bytes.capacity().max(input),
            None => input,
        }
    }

    /// Takes one frame, or what there is of one, from the front of `input`, unmasking it in place. May grow what is
    /// held by `room` bytes. Returns the bytes consumed, at least one of a
    /// non-empty input, and what they were.
    pub fn next<'a>(&mut self, input: &'a mut [u8], room: usize) -> Result<(usize, Item<'a>), Violation> {
        if self.partial.as_ref().is_some_and(|partial| partial.frame.is_some()) {
            return self.continue_frame(input, room);
        }
        if !self.stub.is_empty() {
            return self.continue_stub(input);
        }
        let Some((header, size)) = Header::parse(input, self.role)? else {
            return Ok((self.keep(input), Item::Nothing));
        };
        self.check(&header)?;
        let length = header.length as usize;
        let is_here = input.len() - size >= length;
        if header.kind.is_control() && !is_here {
            return Ok((self.keep(input), Item::Nothing));
        }
        let is_whole = is_here && header.is_final && self.partial.is_none();
        if !header.kind.is_control() && !is_whole {
            self.open_frame(&header);
            return self.continue_frame(&mut input[size..], room).map(|(taken, item)| (size + taken, item));
        }
        let payload = &mut input[size..size + length];
        if let Some(mask) = header.mask {
            apply_mask(payload, mask, 0);
        }
        let item = match header.kind {
            Kind::Text | Kind::Continuation => Item::Message(Opcode::Text, checked_text(payload)?),
            Kind::Binary => Item::Message(Opcode::Binary, payload),
            _ => control(header.kind, payload)?,
        };
        Ok((size + length, item))
    }

    /// Rules that need the state or the limits; those of the header alone are in [`Header::parse`].
    fn check(&self, header: &Header) -> Result<(), Violation> {
        match (header.kind, &self.partial) {
            (Kind::Continuation, None) => return Err(Violation::StrayContinuation),
            (Kind::Text | Kind::Binary, Some(_)) => return Err(Violation::InterleavedMessage),
            _ => {}
        }
        let held = self.partial.as_ref().map_or(0, |partial| partial.bytes.len());
        if !header.kind.is_control() && header.length > (self.message_bytes_max - held) as u64 {
            return Err(Violation::TooBig);
        }
        Ok(())
    }

    fn keep(&mut self, input: &[u8]) -> usize {
        debug_assert!(input.len() < HEADER_BYTES_MAX + CONTROL_BYTES_MAX);
        self.stub = input.into();
        input.len()
    }

    fn open_frame(&mut self, header: &Header) {
        let frame =
            OpenFrame { is_final: header.is_final, mask: header.mask, missing: header.length as usize, offset: 0 };
        match &mut self.partial {
            Some(partial) => partial.frame = Some(frame),
            None => {
                let opcode = if header.kind == Kind::Binary { Opcode::Binary } else { Opcode::Text };
                self.partial = Some(Box::new(Partial { opcode, bytes: Vec::new(), frame: Some(frame) }));
            }
        }
    }

    /// Moves what there is of the open frame's payload into the message.
    fn continue_frame<'a>(&mut self, input: &'a mut [u8], room: usize) -> Result<(usize, Item<'a>), Violation> {
        let partial = self.partial.as_mut().expect("a frame is open");
        let frame = partial.frame.as_mut().expect("a frame is open");
        let taken = frame.missing.min(input.len());
        let piece = &mut input[..taken];
        if let Some(mask) = frame.mask {
            apply_mask(piece, mask, frame.offset);
        }
        frame.offset += taken;
        frame.missing -= taken;
        grow(&mut partial.bytes, taken, frame.missing, room)?;
        partial.bytes.extend_from_slice(piece);
        if frame.missing > 0 {
            return Ok((taken, Item::Nothing));
        }
        if !frame.is_final {
            partial.frame = None;
            return Ok((taken, Item::Fragment));
        }
        let message = *self.partial.take().expect("a frame is open");
        if message.opcode == Opcode::Text {
            checked_text(&message.bytes)?;
        }
        Ok((taken, Item::Assembled(message.opcode, message.bytes)))
    }

    /// Completes a header or a control frame that came in pieces.
    fn continue_stub<'a>(&mut self, input: &'a mut [u8]) -> Result<(usize, Item<'a>), Violation> {
        let mut taken = 0;
        let mut stub = std::mem::take(&mut self.stub).into_vec();
        let (header, size) = loop {
            if let Some(header) = Header::parse(&stub, self.role)? {
                break header;
            }
            let missing = Header::size(&stub) - stub.len();
            let piece = &input[taken..(taken + missing).min(input.len())];
            if piece.is_empty() {
                self.stub = stub.into_boxed_slice();
                return Ok((taken, Item::Nothing));
            }
            stub.extend_from_slice(piece);
            taken += piece.len();
        };
        self.check(&header)?;
        if !header.kind.is_control() {
            self.open_frame(&header);
            // The payload is for the next call; an empty one is whole already.
            return match header.length {
                0 => self.continue_frame(&mut [], 0).map(|(_, item)| (taken, item)),
                _ => Ok((taken, Item::Nothing)),
            };
        }
        let missing = size + header.length as usize - stub.len();
        let piece = &input[taken..(taken + missing).min(input.len())];
        stub.extend_from_slice(piece);
        taken += piece.len();
        if piece.len() < missing {
            self.stub = stub.into_boxed_slice();
            return Ok((taken, Item::Nothing));
        }
        if let Some(mask) = header.mask {
            apply_mask(&mut stub[size..], mask, 0);
        }
        Ok((taken, control(header.kind, &stub[size..])?))
    }
}

/// The payload of a close frame; an empty one for [`code::NONE`]. The reason is cut to what a control frame holds.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    if code == code::NONE {
        return Vec::new();
    }
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    payload
}

fn control(kind: Kind, payload: &[u8]) -> Result<Item<'static>, Violation> {
    match kind {
        Kind::Ping => Ok(Item::Ping(ControlPayload::new(payload))),
        Kind::Pong => Ok(Item::Pong),
        _ => match payload {
            [] => Ok(Item::Close(code::NONE, Box::default())),
            [_] => Err(Violation::BadClose),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(Violation::BadClose);
                }
                let reason = std::str::from_utf8(reason).map_err(|_| Violation::BadText)?;
                Ok(Item::Close(code, reason.into()))
            }
        },
    }
}

const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

fn checked_text(bytes: &[u8]) -> Result<&[u8], Violation> {
    match std::str::from_utf8(bytes) {
        Ok(_) => Ok(bytes),
        Err(_) => Err(Violation::BadText),
    }
}

/// Makes room for `more` bytes, of which `missing` will follow: doubles with what has really come, so that a header
/// that promises much costs nothing, and never takes more than the frame needs.
fn grow(bytes: &mut Vec<u8>, more: usize, missing: usize, room: usize) -> Result<(), Violation> {
    let needed = bytes.len() + more;
    if needed <= bytes.capacity() {
        return Ok(());
    }
    let target = (bytes.capacity() * 2).clamp(needed, needed + missing);
    if target - bytes.capacity() > room {
        return Err(Violation::NoRoom);
    }
    bytes.reserve_exact(target - bytes.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::frame::HeaderError;

    const MAX: usize = 1000;

    fn frame(is_final: bool, kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let mut wire = Vec::new();
        Header { is_final, kind, mask: Some(mask), length: payload.len() as u64 }.write(&mut wire);
        let start = wire.len();
        wire.extend_from_slice(payload);
        apply_mask(&mut wire[start..], mask, 0);
        wire
    }

    /// What an application would see, with whole and assembled messages alike.
    fn feed(session: &mut Session, pieces: &[&[u8]]) -> Result<Vec<String>, Violation> {
        let mut seen = Vec::new();
        for piece in pieces {
            let mut input = piece.to_vec();
            let mut at = 0;
            while at < input.len() {
                let (taken, item) = session.next(&mut input[at..], usize::MAX)?;
                assert!(taken > 0);
                at += taken;
                match item {
                    Item::Nothing | Item::Fragment => {}
                    Item::Message(opcode, bytes) => {
                        seen.push(format!("{opcode:?} {}", String::from_utf8_lossy(bytes)));
                    }
                    Item::Assembled(opcode, bytes) => {
                        seen.push(format!("{opcode:?} {}", String::from_utf8_lossy(&bytes)));
                    }
                    Item::Ping(payload) => seen.push(format!("Ping {:?}", payload.as_slice())),
                    Item::Pong => seen.push("Pong".to_owned()),
                    Item::Close(code, reason) => seen.push(format!("Close {code} {reason}")),
                }
            }
        }
        Ok(seen)
    }

    fn server() -> Session {
        Session::new(Role::Server, MAX)
    }

    fn conversation() -> (Vec<u8>, Vec<&'static str>) {
        let mut wire = frame(true, Kind::Text, b"hello");
        wire.extend(frame(false, Kind::Text, "gr\u{fc}".as_bytes()));
        wire.extend(frame(true, Kind::Ping, &[1, 2]));
        wire.extend(frame(false, Kind::Continuation, b""));
        wire.extend(frame(true, Kind::Continuation, b"n"));
        wire.extend(frame(true, Kind::Binary, b""));
        wire.extend(frame(true, Kind::Pong, b""));
        wire.extend(frame(true, Kind::Binary, &[b'x'; 200]));
        wire.extend(frame(true, Kind::Close, b"\x03\xE8bye"));
        (wire, vec!["Text hello", "Ping [1, 2]", "Text gr\u{fc}n", "Binary ", "Pong", "Binary x200", "Close 1000 bye"])
    }

    fn shortened(seen: Vec<String>) -> Vec<String> {
        seen.into_iter().map(|line| line.replace(&"x".repeat(200), "x200")).collect()
    }

    #[test]
    fn any_two_pieces_say_the_same() {
        let (wire, expected) = conversation();
        for cut in 0..=wire.len() {
            let mut session = server();
            let seen = feed(&mut session, &[&wire[..cut], &wire[cut..]]).unwrap();
            assert_eq!(shortened(seen), expected, "cut at {cut}");
            assert_eq!(session.held_bytes(), 0, "an idle connection owns no buffer");
        }
    }

    #[test]
    fn byte_by_byte_says_the_same() {
        let (wire, expected) = conversation();
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(shortened(feed(&mut server(), &bytes).unwrap()), expected);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_hold_more_than_they_are(pieces: Vec<Vec<u8>>, is_server: bool) {
            let mut session = Session::new(if is_server { Role::Server } else { Role::Client }, MAX);
            let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
            let _ = feed(&mut session, &pieces);
            let total: usize = pieces.iter().map(|piece| piece.len()).sum();
            prop_assert!(session.held_bytes() <= 2 * total + 160);
        }
    }

    #[test]
    fn a_whole_message_is_not_copied() {
        let mut input = frame(true, Kind::Text, b"here");
        let range = input.as_ptr_range();
        let mut session = server();
        let (taken, item) = session.next(&mut input, 0).unwrap();
        let Item::Message(Opcode::Text, payload) = item else { panic!("{item:?}") };
        assert!(range.contains(&payload.as_ptr()));
        assert_eq!((payload, taken), (&b"here"[..], 10));
    }

    #[test]
    fn violations_have_their_codes() {
        let fails = |wire: Vec<u8>| {
            let violation = feed(&mut server(), &[&wire]).unwrap_err();
            (violation, violation.close_code())
        };
        assert_eq!(fails(frame(true, Kind::Continuation, b"")), (Violation::StrayContinuation, 1002));
        let mut interleaved = frame(false, Kind::Text, b"a");
        interleaved.extend(frame(true, Kind::Text, b"b"));
        assert_eq!(fails(interleaved), (Violation::InterleavedMessage, 1002));
        assert_eq!(fails(frame(true, Kind::Text, b"\xFF")), (Violation::BadText, 1007));
        let mut split = frame(false, Kind::Text, b"ok");
        split.extend(frame(true, Kind::Continuation, b"\xC3"));
        assert_eq!(fails(split), (Violation::BadText, 1007));
        assert_eq!(fails(frame(true, Kind::Binary, &[0; MAX + 1])), (Violation::TooBig, 1009));
        let mut sum = frame(false, Kind::Binary, &[0; MAX]);
        sum.extend(frame(true, Kind::Continuation, b"1"));
        assert_eq!(fails(sum), (Violation::TooBig, 1009));
        assert_eq!(fails(vec![0x81, 0x00]), (Violation::Header(HeaderError::Unmasked), 1002));
    }

    #[test]
    fn close_frames_are_checked() {
        let close = |payload: &[u8]| feed(&mut server(), &[&frame(true, Kind::Close, payload)]);
        assert_eq!(close(b"").unwrap(), ["Close 1005 "]);
        assert_eq!(close(b"\x0F\xA2superseded").unwrap(), ["Close 4002 superseded"]);
        assert_eq!(close(b"\x03").unwrap_err(), Violation::BadClose);
        for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
            assert_eq!(close(&code.to_be_bytes()).unwrap_err(), Violation::BadClose, "{code}");
        }
        assert_eq!(close(b"\x03\xE8\xFF").unwrap_err(), Violation::BadText);
    }

    #[test]
    fn a_promise_of_much_costs_nothing() {
        let promise = |length| {
            let mut header = Vec::new();
            Header { is_final: true, kind: Kind::Text, mask: Some([0; 4]), length }.write(&mut header);
            header
        };
        let mut session = Session::new(Role::Server, 32_000_000);
        feed(&mut session, &[&promise(32_000_000)]).unwrap();
        assert_eq!(session.held_bytes(), 0);
        feed(&mut session, &[&[b'a'; 100]]).unwrap();
        assert_eq!(session.held_bytes(), 100);
        let mut session = Session::new(Role::Server, 32_000_000);
        assert_eq!(feed(&mut session, &[&promise(100_000_000)]), Err(Violation::TooBig));
    }

    #[test]
    fn no_room_is_refused() {
        let mut wire = frame(false, Kind::Text, &[b'a'; 600]);
        assert_eq!(server().next(&mut wire, 599), Err(Violation::NoRoom));
    }

    #[test]
    fn close_reasons_are_cut_at_a_character() {
        assert!(close_payload(code::NONE, "x").is_empty());
        assert_eq!(close_payload(1000, &"\u{e4}".repeat(100)).len(), 2 + 122);
    }
}
