//! Numbers that JSON can hold. `serde_json` writes NaN and infinities as `null`, which no reader takes for a number again.

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

/// Refuses a value that holds a NaN or an infinity, by the place of it: "`trace.logprobs[3]` is NaN".
pub fn finite(value: &(impl Serialize + ?Sized)) -> Result<(), String> {
    value.serialize(Walk).map_err(|Found { number, place }| match place.trim_start_matches('.') {
        "" => format!("the value is {number}"),
        place => format!("`{place}` is {number}"),
    })
}

/// Visits every number.
struct Walk;

/// A number that is not finite, and where it is.
#[derive(Debug)]
struct Found {
    number: String,
    place: String,
}

impl Found {
    fn below(self, place: impl std::fmt::Display) -> Found {
        Found { place: format!("{place}{}", self.place), ..self }
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.number)
    }
}

impl std::error::Error for Found {}

impl serde::ser::Error for Found {
    fn custom<T: std::fmt::Display>(problem: T) -> Found {
        Found { number: problem.to_string(), place: String::new() }
    }
}

macro_rules! always_finite {
    ($($method:ident($type:ty)),*) => {
        $(fn $method(self, _: $type) -> Result<(), Found> { Ok(()) })*
    };
}

impl Serializer for Walk {
    type Ok = ();
    type Error = Found;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    fn serialize_f32(self, number: f32) -> Result<(), Found> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), Found> {
        if number.is_finite() { Ok(()) } else { Err(Found { number: number.to_string(), place: String::new() }) }
    }

    always_finite!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_i128(i128),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str)
    );

    fn serialize_none(self) -> Result<(), Found> {
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Found> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Found> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Found> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Found> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Found> {
        value.serialize(self).map_err(|it| it.below(format!(".{variant}")))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Found> {
        Ok(Items(0))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items, Found> {
        Ok(Items(0))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Items, Found> {
        Ok(Items(0))
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Items, Found> {
        Ok(Items(0))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries, Found> {
        Ok(Entries(String::new()))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Entries, Found> {
        Ok(Entries(String::new()))
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Entries, Found> {
        Ok(Entries(String::new()))
    }
}

/// What lies in a row; holds how much was visited.
struct Items(usize);

impl Items {
    fn visit<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
        value.serialize(Walk).map_err(|it| it.below(format!("[{}]", self.0)))?;
        self.0 += 1;
        Ok(())
    }
}

/// What has names; holds the key whose value comes next.
struct Entries(String);

impl Entries {
    fn visit<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<(), Found> {
        value.serialize(Walk).map_err(|it| it.below(format!(".{key}")))
    }
}

macro_rules! visits_items {
    ($($of:ident::$method:ident),*) => {
        $(impl $of for Items {
            type Ok = ();
            type Error = Found;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
                self.visit(value)
            }
            fn end(self) -> Result<(), Found> {
                Ok(())
            }
        })*
    };
}

visits_items!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

impl SerializeMap for Entries {
    type Ok = ();
    type Error = Found;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Found> {
        let key = serde_json::to_string(key).unwrap_or_default();
        key.trim_matches('"').clone_into(&mut self.0);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Found> {
        self.visit(&self.0, value)
    }
    fn end(self) -> Result<(), Found> {
        Ok(())
    }
}

macro_rules! visits_fields {
    ($($of:ident),*) => {
        $(impl $of for Entries {
            type Ok = ();
            type Error = Found;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Found> {
                self.visit(key, value)
            }
            fn end(self) -> Result<(), Found> {
                Ok(())
            }
        })*
    };
}

visits_fields!(SerializeStruct, SerializeStructVariant);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_number_that_is_not_finite_is_named_by_its_place() {
        #[derive(Serialize)]
        enum Kind {
            Plain(Vec<f32>),
            Named { at: (u8, f64) },
        }
        assert_eq!(finite(&Kind::Plain(vec![1.0, 2.0])), Ok(()));
        assert_eq!(finite(&Kind::Plain(vec![1.0, f32::NEG_INFINITY])), Err("`Plain[1]` is -inf".to_owned()));
        assert_eq!(finite(&Some(Kind::Named { at: (1, f64::NAN) })), Err("`at[1]` is NaN".to_owned()));
        assert_eq!(finite(&BTreeMap::from([("loss", Some(f64::NAN))])), Err("`loss` is NaN".to_owned()));
        assert_eq!(finite(&f64::INFINITY), Err("the value is inf".to_owned()));
        assert_eq!(finite(&None::<f32>), Ok(()));
    }
}
