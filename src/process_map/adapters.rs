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

/// Bytes as a [`Name`](vmcore::text::Name), and no bytes as null.
pub mod text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use vmcore::text::Name;

    pub fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        (!value.is_empty()).then(|| Name::from(value)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(Option::<Name>::deserialize(deserializer)?.map_or_else(Vec::new, |name| name.as_bytes().to_vec()))
    }
}

/// A value that is nothing in particular by default, which is null.
pub mod unless_default {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<T: Serialize + Default + PartialEq, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if *value == T::default() { serializer.serialize_none() } else { value.serialize(serializer) }
    }

    pub fn deserialize<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
    }
}

/// The number of a file in its file system as a string of decimal digits, which a double may not hold; 0 as null.
pub mod inode {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use vmcore::units::{decimal, from_decimal};

    #[derive(Serialize, Deserialize)]
    struct Inode(#[serde(serialize_with = "decimal", deserialize_with = "from_decimal")] u64);

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        (*value != 0).then_some(Inode(*value)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Ok(Option::<Inode>::deserialize(deserializer)?.map_or(0, |inode| inode.0))
    }
}

/// A number of the kernel as the word that it stands for.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident, $what:literal, $words:expr) => {
        $(#[$meta])*
        pub mod $name {
            use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

            const WORDS: &[&str] = &$words;

            #[expect(clippy::ref_option, reason = "as serde calls it")]
            pub fn serialize<S: Serializer>(value: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
                let word = value.and_then(|value| WORDS.get(usize::try_from(value).ok()?));
                word.serialize(serializer)
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
                let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
                let found = (0_u32..).zip(WORDS).find(|(_, word)| **word == text);
                let unknown = || D::Error::custom(format!(concat!("'{}' is not ", $what), text.escape_debug()));
                found.map(|(value, _)| Some(value)).ok_or_else(unknown)
            }
        }
    };
}

words!(
    /// `VM_INHERIT_…`.
    inheritance,
    "an inheritance: share, copy, none or zero",
    ["share", "copy", "none", "zero"]
);
words!(
    /// The advice of madvise(2).
    advice,
    "an advice: normal, random or sequential",
    ["normal", "random", "sequential"]
);

/// `KMAP_FLAG_…` of `sys/user.h` as a list of names; bits without a name are one hexadecimal number.
pub mod layout_flags {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use vmcore::units::parse_address;

    const NAMES: [&str; 6] = ["wire-future", "aslr", "aslr-ignore-start", "w-xor-x", "aslr-stack", "aslr-shared-page"];

    /// Writes the names, as serde's adapter.
    ///
    /// # Errors
    ///
    /// Those of the serialiser.
    pub fn serialize<S: Serializer>(flags: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        let named = (0_u32..).zip(NAMES).filter(|(bit, _)| flags >> bit & 1 != 0).map(|(_, name)| name.to_owned());
        let rest = flags >> NAMES.len() << NAMES.len();
        serializer.collect_seq(named.chain((rest != 0).then(|| format!("{rest:#x}"))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let bits = |name: &String| {
            let known = (0_u32..).zip(NAMES).find(|(_, known)| known == name).map(|(bit, _)| 1 << bit);
            let number = || u32::try_from(parse_address(name).ok()?).ok();
            let unknown = || D::Error::custom(format!("'{}' is not a flag of an address space", name.escape_debug()));
            known.or_else(number).ok_or_else(unknown)
        };
        Vec::<String>::deserialize(deserializer)?.iter().map(bits).try_fold(0, |flags, bits| Ok(flags | bits?))
    }
}
