//! Protobuf of what is borrowed: the bytes that prost makes of a message, without a copy of each string beforehand.

use prost::encoding::{
    WireType, encode_key, encode_varint, encoded_len_varint, fixed64, key_len, uint64,
};

/// A field by its tag. As in prost, one that has its default is left out.
pub(super) type Field<'a> = (u32, Value<'a>);

/// What a field holds.
pub(super) enum Value<'a> {
    Number(u64),
    Fixed(u64),
    /// Of a string, or of bytes.
    Bytes(&'a [u8]),
}

/// Bytes that these fields take.
pub(super) fn length(fields: &[Field]) -> usize {
    let length = |(tag, value): &Field| match value {
        Value::Number(0) | Value::Fixed(0) | Value::Bytes([]) => 0,
        Value::Number(number) => uint64::encoded_len(*tag, number),
        Value::Fixed(number) => fixed64::encoded_len(*tag, number),
        Value::Bytes(bytes) => nested_length(*tag, bytes.len()),
    };
    fields.iter().map(length).sum()
}

/// Bytes that a message of `length` bytes takes within another.
pub(super) fn nested_length(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

/// Writes these fields.
pub(super) fn write(fields: &[Field], out: &mut Vec<u8>) {
    for (tag, value) in fields {
        match value {
            Value::Number(0) | Value::Fixed(0) | Value::Bytes([]) => {}
            Value::Number(number) => uint64::encode(*tag, number, out),
            Value::Fixed(number) => fixed64::encode(*tag, number, out),
            Value::Bytes(bytes) => {
                begin(*tag, bytes.len(), out);
                out.extend_from_slice(bytes);
            }
        }
    }
}

/// Begins a message of `length` bytes within another.
pub(super) fn begin(tag: u32, length: usize, out: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(length as u64, out);
}
