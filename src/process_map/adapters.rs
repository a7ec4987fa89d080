//! How protections and names are written in JSON, as serde's adapters.

/// A protection as a string such as `r-x`.
pub mod letters {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use vmcore::pmap::Protection;

    pub fn serialize<S: Serializer>(value: &Protection, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Protection, D::Error> {
        let text = String::deserialize(deserializer)?;
        let letters: Vec<char> = text.chars().collect();
        match letters.as_slice() {
            &[read @ ('r' | '-'), write @ ('w' | '-'), execute @ ('x' | '-')] => {
                Ok(Protection { read: read == 'r', write: write == 'w', execute: execute == 'x' })
            }
            _ => Err(D::Error::custom(format!("'{}' is not a protection such as 'r-x'", text.escape_debug()))),
        }
    }
}

/// The same, where there may be none.
pub mod maybe_letters {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use vmcore::pmap::Protection;

    #[derive(Serialize, Deserialize)]
    struct Letters(#[serde(with = "super::letters")] Protection);

    #[expect(clippy::ref_option, reason = "as serde calls it")]
    pub fn serialize<S: Serializer>(value: &Option<Protection>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Letters).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Protection>, D::Error> {
        Ok(Option::<Letters>::deserialize(deserializer)?.map(|letters| letters.0))
    }
}

/// Bytes as a string, or, where they are not UTF-8, as a list of numbers, so that no two names become one.
pub mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a string, or a list of bytes")]
    enum Text {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(value) {
            Ok(text) => text.serialize(serializer),
            Err(_) => value.serialize(serializer),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Text::deserialize(deserializer)? {
            Text::Text(text) => text.into_bytes(),
            Text::Bytes(bytes) => bytes,
        })
    }
}
