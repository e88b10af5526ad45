//! Which types lie within each other: every value of the one is a value of the other.

use std::sync::Arc;

use super::check::{Origin, is_a, positions, tuple_size};
use super::judge::Judge;
use super::{Alias, Member, Range, Signature, Size, Type};

/// What a comparison takes along.
struct Assumed<'a> {
    /// Pairs of aliases that are being compared: such a pair counts as true while it is.
    pairs: Vec<(Arc<str>, String)>,
    judge: &'a Judge,
}

impl Assumed<'_> {
    /// Whether the pair of an alias and another type is being compared already, or nothing more can be: names are long,
    /// so their bytes count.
    fn begin(&mut self, alias: &Alias, other: &Type) -> Begun {
        let pair = (alias.name.clone(), other.to_string());
        if self.pairs.contains(&pair) {
            return Begun::Assumed;
        }
        if !self.judge.spend(pair.1.len() + self.pairs.len()) {
            return Begun::Spent;
        }
        self.pairs.push(pair);
        Begun::Now
    }
}

enum Begun {
    Now,
    Assumed,
    Spent,
}

impl Type {
    /// Whether every value of `other` is one of this type.
    pub fn includes(&self, other: &Self) -> bool {
        let judge = Judge::new(Origin::Language);
        self.includes_judged(other, &judge) && !judge.is_spent()
    }

    /// The same as part of another question.
    pub(super) fn includes_judged(&self, other: &Self, judge: &Judge) -> bool {
        self.includes_assuming(other, &mut Assumed { pairs: Vec::new(), judge })
    }

    /// Whether both have the same values, as far as their forms tell.
    pub fn is_same(&self, other: &Self) -> bool {
        self.includes(other) && other.includes(self)
    }

    fn includes_assuming(&self, other: &Self, assumed: &mut Assumed<'_>) -> bool {
        let judge = assumed.judge;
        judge.enter(1) && judge.leave(self.includes_one(other, assumed))
    }

    fn includes_one(&self, other: &Self, assumed: &mut Assumed<'_>) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Alias(alias), _) => match assumed.begin(alias, other) {
                Begun::Assumed => true,
                Begun::Spent => false,
                Begun::Now => {
                    let is_included = alias.body.get().is_some_and(|body| body.includes_assuming(other, assumed));
                    assumed.pairs.pop();
                    is_included
                }
            },
            (Self::Within(alias), _) => {
                alias.upgrade().is_some_and(|alias| Self::Alias(alias).includes_assuming(other, assumed))
            }
            (_, Self::Alias(alias)) => match assumed.begin(alias, self) {
                Begun::Assumed => true,
                Begun::Spent => false,
                Begun::Now => {
                    let is_included = alias.body.get().is_some_and(|body| self.includes_assuming(body, assumed));
                    assumed.pairs.pop();
                    is_included
                }
            },
            (_, Self::Within(alias)) => {
                alias.upgrade().is_some_and(|alias| self.includes_assuming(&Self::Alias(alias), assumed))
            }
            (_, Self::Variant(types)) if !types.is_empty() => {
                types.iter().all(|one| self.includes_assuming(one, assumed))
            }
            (_, Self::Optional(inner)) => {
                self.includes_assuming(&Self::Undef, assumed) && self.includes_assuming(inner, assumed)
            }
            (Self::NotUndef(inner), _) => {
                !other.accepts_undef()
                    && (inner.is_any() || inner.includes_assuming(other.without_not_undef(), assumed))
            }
            (_, Self::NotUndef(inner)) if !inner.is_any() => self.includes_assuming(inner, assumed),
            (Self::Optional(inner), _) => matches!(other, Self::Undef) || inner.includes_assuming(other, assumed),
            (Self::Variant(types), _) => types.iter().any(|one| one.includes_assuming(other, assumed)),
            _ => self.includes_plain(other, assumed),
        }
    }

    fn without_not_undef(&self) -> &Self {
        match self {
            Self::NotUndef(inner) => inner,
            other => other,
        }
    }

    fn includes_plain(&self, other: &Self, assumed: &mut Assumed<'_>) -> bool {
        match (self, other) {
            (Self::Undef, Self::Undef) | (Self::Default, Self::Default) => true,
            (Self::Data, _) => other.is_data(assumed),
            (Self::RichData, _) => other.is_rich_data(assumed),
            (Self::Scalar, Self::Regexp(_) | Self::Timestamp(_) | Self::Timespan(_) | Self::Scalar) => true,
            (Self::Scalar, Self::SemVer(_) | Self::SemVerRange) => true,
            (Self::Scalar | Self::ScalarData, Self::ScalarData | Self::Boolean(_)) => true,
            (Self::Scalar | Self::ScalarData, _) => other.is_text() || other.is_number(),
            (Self::Numeric, _) => other.is_number(),
            (Self::Boolean(a), Self::Boolean(b)) => a.is_none() || a == b,
            (Self::Integer(a), Self::Integer(b)) => a.includes(b),
            (Self::Float(a), Self::Float(b)) => a.includes(b),
            (Self::String(_) | Self::Text(_) | Self::Enum(..) | Self::Pattern(_), _) if other.is_text() => {
                self.includes_text(other)
            }
            (Self::Regexp(a), Self::Regexp(b)) => match (a, b) {
                (None, _) => true,
                (Some(a), Some(b)) => a.text == b.text,
                (Some(_), None) => false,
            },
            (Self::Iterable(item), _) => other.element().is_some_and(|found| item.includes_assuming(&found, assumed)),
            (Self::Iterator(a), Self::Iterator(b)) | (Self::Sensitive(a), Self::Sensitive(b)) => {
                a.includes_assuming(b, assumed)
            }
            (Self::Type(a), Self::Type(b)) | (Self::Init(a), Self::Init(b)) => a.includes_assuming(b, assumed),
            (Self::Callable(a), Self::Callable(b)) => match (a, b) {
                (None, _) => true,
                (Some(a), Some(b)) => a.includes(b, assumed),
                (Some(_), None) => false,
            },
            (Self::Timestamp(a), Self::Timestamp(b)) | (Self::Timespan(a), Self::Timespan(b)) => a.includes(b),
            (Self::SemVer(a), Self::SemVer(b)) => {
                a.is_empty() || (!b.is_empty() && b.iter().all(|one| a.contains(one)))
            }
            (Self::SemVerRange, Self::SemVerRange) | (Self::Uri, Self::Uri) | (Self::Binary, Self::Binary) => true,
            (Self::Object(a, kind), Self::Object(b, found)) => {
                let mut within =
                    |kind: &Self| found.as_ref().is_some_and(|found| kind.includes_assuming(found, assumed));
                is_a(b, a) && kind.as_deref().is_none_or(&mut within)
            }
            (Self::Impossible(a), Self::Impossible(b)) => a == b,
            _ => self.includes_collection(other, assumed),
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Numeric | Self::Integer(_) | Self::Float(_))
    }

    fn is_text(&self) -> bool {
        matches!(self, Self::String(_) | Self::Text(_) | Self::Enum(..) | Self::Pattern(_))
    }

    fn includes_text(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::String(a), Self::String(b)) => a.includes_sizes(b),
            (Self::Pattern(a), Self::Pattern(b)) => {
                a.is_empty() || (!b.is_empty() && b.iter().all(|one| a.iter().any(|other| other.text == one.text)))
            }
            (_, Self::Text(text)) => self.accepts(&text.as_ref().into()),
            (Self::Enum(a, false), Self::Enum(_, true)) => a.is_empty(),
            (_, Self::Enum(words, _)) if !words.is_empty() => {
                words.iter().all(|word| self.accepts(&word.as_ref().into()))
            }
            (Self::String(size), Self::Pattern(_) | Self::Enum(..)) => size.includes_sizes(&Size::ALL),
            (Self::Enum(words, _), _) => words.is_empty(),
            (Self::Pattern(patterns), _) => patterns.is_empty(),
            _ => false,
        }
    }

    /// The type of the elements, if it has any.
    fn element(&self) -> Option<Self> {
        Some(match self {
            Self::Iterable(item) | Self::Iterator(item) | Self::Array(item, _) => (**item).clone(),
            Self::Tuple(types, _) if types.is_empty() => Self::Any,
            Self::Tuple(types, _) => Self::Variant(types.clone()),
            Self::Hash(key, value, _) => Self::Tuple(vec![(**key).clone(), (**value).clone()], None),
            Self::Struct(members) if members.is_empty() => Self::Any,
            Self::Struct(members) => {
                let pair =
                    |member: &Member| Self::Tuple(vec![Self::Text(member.key.clone()), member.value.clone()], None);
                Self::Variant(members.iter().map(pair).collect())
            }
            Self::Integer(_) => Self::Integer(Range::ALL),
            Self::Type(inner) if matches!(**inner, Self::Integer(_)) => Self::Integer(Range::ALL),
            one if one.is_text() => Self::String(Size::only(1)),
            Self::Collection(_) | Self::Binary => Self::Any,
            _ => return None,
        })
    }

    fn is_data(&self, assumed: &mut Assumed<'_>) -> bool {
        match self {
            Self::Data | Self::Undef => true,
            Self::Array(_, size) | Self::Hash(_, _, size) if size.max == Some(0) => true,
            Self::Array(item, _) => Self::Data.includes_assuming(item, assumed),
            Self::Hash(key, value, _) => {
                Self::String(Size::ALL).includes_assuming(key, assumed) && Self::Data.includes_assuming(value, assumed)
            }
            Self::Tuple(types, _) => {
                !types.is_empty() && types.iter().all(|one| Self::Data.includes_assuming(one, assumed))
            }
            Self::Struct(members) => members.iter().all(|member| Self::Data.includes_assuming(&member.value, assumed)),
            other => Self::ScalarData.includes_plain(other, assumed),
        }
    }

    fn is_rich_data(&self, assumed: &mut Assumed<'_>) -> bool {
        match self {
            Self::RichData | Self::Data | Self::Default | Self::Undef | Self::Binary | Self::Uri => true,
            Self::Type(_) | Self::Object(..) | Self::Sensitive(_) => true,
            Self::Array(_, size) | Self::Hash(_, _, size) if size.max == Some(0) => true,
            Self::Array(item, _) => Self::RichData.includes_assuming(item, assumed),
            Self::Hash(key, value, _) => {
                Self::RichData.includes_assuming(key, assumed) && Self::RichData.includes_assuming(value, assumed)
            }
            Self::Tuple(types, _) => {
                !types.is_empty() && types.iter().all(|one| Self::RichData.includes_assuming(one, assumed))
            }
            Self::Struct(members) => {
                members.iter().all(|member| Self::RichData.includes_assuming(&member.value, assumed))
            }
            other => Self::Scalar.includes_plain(other, assumed),
        }
    }

    fn includes_collection(&self, other: &Self, assumed: &mut Assumed<'_>) -> bool {
        match (self, other) {
            (Self::Collection(size), _) => other.size().is_some_and(|found| size.includes_sizes(&found)),
            (Self::Array(item, size), Self::Array(found, found_size)) => {
                size.includes_sizes(found_size) && (found_size.max == Some(0) || item.includes_assuming(found, assumed))
            }
            (Self::Array(item, size), Self::Tuple(types, found_size)) => {
                let found =
                    if types.is_empty() { found_size.unwrap_or(Size::ALL) } else { tuple_size(types, *found_size) };
                size.includes_sizes(&found)
                    && (!types.is_empty() || item.is_any())
                    && types.iter().all(|one| item.includes_assuming(one, assumed))
            }
            (Self::Tuple(types, size), Self::Tuple(found, found_size)) => {
                if types.is_empty() {
                    return true;
                }
                let found_size = tuple_size(found, *found_size);
                tuple_size(types, *size).includes_sizes(&found_size)
                    && !found.is_empty()
                    && positions(types)
                        .zip(positions(found))
                        .take(types.len().max(found.len()))
                        .all(|(one, other)| one.includes_assuming(other, assumed))
            }
            (Self::Tuple(types, size), Self::Array(item, found)) => {
                types.is_empty() && size.is_none()
                    || found.max == Some(0) && tuple_size(types, *size).includes_sizes(found)
                    || found.min.is_some()
                        && tuple_size(types, *size).includes_sizes(found)
                        && types.iter().all(|one| one.includes_assuming(item, assumed))
            }
            (Self::Hash(key, item, size), Self::Hash(found_key, found, found_size)) => {
                size.includes_sizes(found_size)
                    && (found_size.max == Some(0)
                        || key.includes_assuming(found_key, assumed) && item.includes_assuming(found, assumed))
            }
            (Self::Hash(key, item, size), Self::Struct(members)) => {
                other.size().is_some_and(|found| size.includes_sizes(&found))
                    && members.iter().all(|member| {
                        key.includes_assuming(&Self::Text(member.key.clone()), assumed)
                            && item.includes_assuming(&member.value, assumed)
                    })
            }
            (Self::Struct(members), Self::Struct(found)) => {
                members.iter().all(|member| match found.iter().find(|other| other.key == member.key) {
                    Some(other) => {
                        (member.is_optional || !other.is_optional)
                            && member.value.includes_assuming(&other.value, assumed)
                    }
                    None => member.is_optional,
                }) && found.iter().all(|other| members.iter().any(|member| member.key == other.key))
            }
            (Self::Struct(members), Self::Hash(_, _, size)) => {
                size.max == Some(0) && members.iter().all(|member| member.is_optional)
            }
            _ => false,
        }
    }

    fn size(&self) -> Option<Size> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        match self {
            Self::Collection(size) | Self::Array(_, size) | Self::Hash(_, _, size) => Some(*size),
            Self::Tuple(types, size) if types.is_empty() => Some(size.unwrap_or(Size::ALL)),
            Self::Tuple(types, size) => Some(tuple_size(types, *size)),
            Self::Struct(members) => {
                let required = members.iter().filter(|member| !member.is_optional).count();
                Some(Size { min: Some(count(required)), max: Some(count(members.len())) })
            }
            _ => None,
        }
    }
}

impl Signature {
    /// How many arguments it takes.
    pub fn arguments(&self) -> Size {
        tuple_size(&self.parameters, self.size)
    }

    /// Whether whatever is `other` can be called as this one: it takes at least these arguments.
    fn includes(&self, other: &Self, assumed: &mut Assumed<'_>) -> bool {
        let returns = match (&self.returns, &other.returns) {
            (Some(mine), Some(others)) => mine.includes_assuming(others, assumed),
            (Some(mine), None) => mine.is_any(),
            (None, _) => true,
        };
        returns
            && other.arguments().includes_sizes(&self.arguments())
            && (self.parameters.is_empty()
                || positions(&other.parameters)
                    .zip(positions(&self.parameters))
                    .take(self.parameters.len().max(other.parameters.len()))
                    .all(|(theirs, mine)| theirs.includes_assuming(mine, assumed)))
    }
}
