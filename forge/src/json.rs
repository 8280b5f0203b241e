//! JSON as others write it: a field that is missing, null or of another kind than expected is as one that is not there, and
//! what is kept has limits. So no payload is refused for a field that is not needed.
//!
//! Must not know any forge.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::Rejected;
use crate::body::malformed;

/// Bytes kept of one text: as long as a path may be on Linux, and more than any ref.
const MAX_TEXT: usize = 4096;
/// Elements kept of one list: more than the commits that any forge lists of a push.
const MAX_LIST: usize = 4096;

/// Reads a body whose top is an object.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejected> {
    let object: Object<T> = serde_json::from_slice(body).map_err(malformed)?;
    object.0.ok_or_else(|| malformed("expected a JSON object"))
}

/// The same, with U+FFFD for each half of a surrogate pair that stands alone: a text that was cut in the middle of a
/// character is no reason to refuse the body.
pub(crate) fn repaired(json: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    let mut json = json;
    let mut at = 0;
    while let Some(found) = json.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let here = at + found;
        at = match (surrogate(&json, here), surrogate(&json, here + 6)) {
            (Some(Half::First), Some(Half::Second)) => here + 12,
            (Some(_), _) => {
                json.to_mut()[here..here + 6].copy_from_slice(b"\\ufffd");
                here + 6
            }
            // Whatever else is escaped is one byte, or digits.
            (None, _) => here + 2,
        };
    }
    json
}

enum Half {
    First,
    Second,
}

/// Half a surrogate pair, written as an escape at this place.
fn surrogate(json: &[u8], at: usize) -> Option<Half> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    match u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()? {
        0xd800..=0xdbff => Some(Half::First),
        0xdc00..=0xdfff => Some(Half::Second),
        _ => None,
    }
}

/// A text; empty when there is none. Cut at 4096 bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Text(String);

/// A number without sign and fraction.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Number(pub Option<u64>);

/// True or false.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Flag(pub Option<bool>);

/// An object.
#[derive(Debug, Clone)]
pub(crate) struct Object<T>(pub Option<T>);

/// A list; what is there is all of it unless `cut`.
#[derive(Debug, Clone)]
pub(crate) struct List<T> {
    pub items: Vec<T>,
    pub cut: bool,
}

impl Text {
    /// The text, or the other one where there is none.
    pub(crate) fn or(self, other: Text) -> Text {
        if self.0.is_empty() { other } else { self }
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text[..text.floor_char_boundary(MAX_TEXT)].to_owned())
    }
}

impl<T> Default for Object<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Default> Object<T> {
    /// The object, empty where there is none.
    pub(crate) fn or_empty(self) -> T {
        self.0.unwrap_or_default()
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { items: Vec::new(), cut: false }
    }
}

/// A value of any kind: at most one of the fields is set.
struct Any<T, I> {
    text: Text,
    number: Number,
    flag: Flag,
    object: Object<T>,
    list: List<I>,
}

impl<T, I> Default for Any<T, I> {
    fn default() -> Self {
        Self {
            text: Text::default(),
            number: Number::default(),
            flag: Flag::default(),
            object: Object::default(),
            list: List::default(),
        }
    }
}

struct AnyVisitor<T, I>(PhantomData<(T, I)>);

impl<'de, T: Deserialize<'de>, I: Deserialize<'de>> Visitor<'de> for AnyVisitor<T, I> {
    type Value = Any<T, I>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Any::default())
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Any { flag: Flag(Some(value)), ..Any::default() })
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Any { number: Number(Some(value)), ..Any::default() })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Any::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Any::default())
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Any { text: Text::from(value), ..Any::default() })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = List::default();
        while list.items.len() < MAX_LIST {
            match seq.next_element()? {
                Some(item) => list.items.push(item),
                None => return Ok(Any { list, ..Any::default() }),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            list.cut = true;
        }
        Ok(Any { list, ..Any::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let object = Object(Some(T::deserialize(MapAccessDeserializer::new(map))?));
        Ok(Any { object, ..Any::default() })
    }
}

fn any<'de, D, T, I>(deserializer: D) -> Result<Any<T, I>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
    I: Deserialize<'de>,
{
    deserializer.deserialize_any(AnyVisitor(PhantomData))
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(any::<D, IgnoredAny, IgnoredAny>(deserializer)?.text)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(any::<D, IgnoredAny, IgnoredAny>(deserializer)?.number)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(any::<D, IgnoredAny, IgnoredAny>(deserializer)?.flag)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(any::<D, T, IgnoredAny>(deserializer)?.object)
    }
}

impl<'de, I: Deserialize<'de>> Deserialize<'de> for List<I> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(any::<D, IgnoredAny, I>(deserializer)?.list)
    }
}
