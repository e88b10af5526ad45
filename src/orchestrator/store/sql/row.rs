//! Rows of any of the databases, and what becomes of their columns.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::SqlError;
use crate::clock::WallTime;

/// A row of one of the databases.
pub trait Columns {
    /// A column of integers.
    fn integer(&self, column: &str) -> Result<Option<i64>, SqlError>;

    /// A column of text.
    fn text(&self, column: &str) -> Result<Option<&str>, SqlError>;

    /// A column of bytes.
    fn bytes(&self, column: &str) -> Result<Option<&[u8]>, SqlError>;
}

/// A row.
pub struct Row<'r>(&'r dyn Columns);

/// What a column can be read as.
pub trait FromColumn: Sized {
    /// The value, or `None` for NULL.
    fn from_column(columns: &dyn Columns, name: &str) -> Result<Option<Self>, SqlError>;
}

impl<'r> Row<'r> {
    /// What a database gave.
    pub const fn new(columns: &'r dyn Columns) -> Self {
        Self(columns)
    }

    /// A column that is never NULL.
    pub fn get<T: FromColumn>(&self, name: &str) -> Result<T, SqlError> {
        T::from_column(self.0, name)?.ok_or_else(|| SqlError::Unknown(name.to_owned()))
    }

    /// A column that may be NULL.
    pub fn option<T: FromColumn>(&self, name: &str) -> Result<Option<T>, SqlError> {
        T::from_column(self.0, name)
    }

    /// A column with one of the words of an enumeration.
    pub fn word<T>(&self, name: &str, convert: impl Fn(&str) -> Option<T>) -> Result<T, SqlError> {
        let text = self.0.text(name)?;
        text.and_then(convert).ok_or_else(|| SqlError::Unknown(name.to_owned()))
    }

    /// A column with JSON text.
    pub fn parsed<T: DeserializeOwned>(&self, name: &str) -> Result<T, SqlError> {
        self.word(name, |text| serde_json::from_str(text).ok())
    }

    /// A column with JSON text or NULL.
    pub fn parsed_option<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, SqlError> {
        match self.0.text(name)? {
            Some(_) => self.parsed(name).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes that columns of text have.
    pub fn bytes(&self, columns: &[&str]) -> Result<usize, SqlError> {
        columns.iter().try_fold(0, |sum, column| Ok(sum + self.0.text(column)?.map_or(0, str::len)))
    }
}

/// A value as JSON text.
pub fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what is stored has string keys only")
}

impl FromColumn for i64 {
    fn from_column(columns: &dyn Columns, name: &str) -> Result<Option<Self>, SqlError> {
        columns.integer(name)
    }
}

macro_rules! from_integer {
    ($($type:ty: $convert:expr),* $(,)?) => {$(
        impl FromColumn for $type {
            fn from_column(columns: &dyn Columns, name: &str) -> Result<Option<Self>, SqlError> {
                let convert: fn(i64) -> Option<Self> = $convert;
                let Some(number) = columns.integer(name)? else { return Ok(None) };
                convert(number).map(Some).ok_or_else(|| SqlError::Unknown(name.to_owned()))
            }
        }
    )*};
}

from_integer! {
    u32: |number| number.try_into().ok(),
    u64: |number| number.try_into().ok(),
    bool: |number| Some(number != 0),
    WallTime: |millis| Some(WallTime::from_millis(millis)),
    Duration: |millis| Some(Duration::from_millis(millis.unsigned_abs())),
}

impl FromColumn for String {
    fn from_column(columns: &dyn Columns, name: &str) -> Result<Option<Self>, SqlError> {
        Ok(columns.text(name)?.map(str::to_owned))
    }
}

impl FromColumn for Vec<u8> {
    fn from_column(columns: &dyn Columns, name: &str) -> Result<Option<Self>, SqlError> {
        Ok(columns.bytes(name)?.map(<[u8]>::to_vec))
    }
}

impl FromColumn for [u8; 32] {
    fn from_column(columns: &dyn Columns, name: &str) -> Result<Option<Self>, SqlError> {
        let Some(bytes) = columns.bytes(name)? else { return Ok(None) };
        bytes.try_into().map(Some).map_err(|_| SqlError::Unknown(name.to_owned()))
    }
}
