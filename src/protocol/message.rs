//! A finished message: its text, made once and shared by reference with everyone it goes to.

use bytes::Bytes;
use serde::Serialize;

/// No frame of the wire is longer, whatever a transport puts in front: gateways and client libraries end a session above it.
pub const MAX_FRAME_BYTES: usize = 65_536;
/// Room that is left for what a transport puts in front: a WebSocket has a header of so many bytes for 126 to 65,535.
pub(super) const HEADER_BYTES: usize = 4;

/// The text of one message, ready for any transport. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message(Bytes);

impl Message {
    /// A message as JSON. None of ours is longer than [`MAX_FRAME_BYTES`] allows: what it carries is bounded where it comes in
    /// (`no_frame_is_longer_than_the_wire_allows`).
    pub fn json(message: &impl Serialize) -> Self {
        let message = Self::written(|text| write_json(text, message));
        debug_assert!(message.len() + HEADER_BYTES <= MAX_FRAME_BYTES, "{} bytes", message.len());
        message
    }

    /// What `write` appends.
    pub(super) fn written(write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut text = Vec::with_capacity(512);
        write(&mut text);
        text.shrink_to_fit();
        Self(text.into())
    }

    /// What is there already.
    pub fn text(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// The text, which is UTF-8.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Appends `value` as JSON.
pub(super) fn write_json(buffer: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(buffer, value).expect("messages have string keys and writing to memory succeeds");
}
