//! What a configuration value may be: how it is read from TOML, bounded, and written back.

use super::units;
use posthaste_im::config::Keep;
use posthaste_proto::sasl::Secret;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// One row of the table of keys: where the value goes, and everything said about it.
pub(crate) struct Key<T: 'static> {
    /// Its name within its section.
    pub(crate) name: &'static str,
    /// What the generated example says about it, one line each.
    pub(crate) doc: &'static [&'static str],
    /// Whether a running server takes a new value on `reload`.
    pub(crate) reload: bool,
    pub(crate) value: Value<T>,
}

/// The type, default, bounds and place of a value.
///
/// The `Own…` kinds belong to one host and have no default: left out, the host follows the
/// server-wide key. `example` is what the generated example shows in a comment.
pub(crate) enum Value<T: 'static> {
    Switch {
        default: bool,
        field: fn(&mut T) -> &mut bool,
    },
    Count {
        default: u64,
        min: u64,
        max: u64,
        field: fn(&mut T) -> &mut u64,
    },
    Size {
        default: u64,
        min: u64,
        max: u64,
        field: fn(&mut T) -> &mut u64,
    },
    Period {
        default: Duration,
        min: Duration,
        max: Duration,
        field: fn(&mut T) -> &mut Duration,
    },
    /// Whole days, one at least.
    Days {
        default: u32,
        max: u32,
        field: fn(&mut T) -> &mut u32,
    },
    Addresses {
        default: &'static [&'static str],
        field: fn(&mut T) -> &mut Vec<SocketAddr>,
    },
    Choice {
        default: &'static str,
        of: &'static [&'static str],
        field: fn(&mut T) -> &mut &'static str,
    },
    Text {
        default: &'static str,
        check: fn(&str) -> Result<(), String>,
        field: fn(&mut T) -> &mut String,
    },
    Texts {
        default: &'static [&'static str],
        check: fn(&str) -> Result<(), String>,
        field: fn(&mut T) -> &mut Vec<String>,
    },
    /// A secret: never quoted in a complaint, and no default is safe but none.
    Hidden { field: fn(&mut T) -> &mut Secret },
    Place {
        default: &'static str,
        field: fn(&mut T) -> &mut PathBuf,
    },
    OptionalPlace {
        example: &'static str,
        field: fn(&mut T) -> &mut Option<PathBuf>,
    },
    Retention {
        default: Keep,
        field: fn(&mut T) -> &mut Keep,
    },
    OwnSwitch {
        example: bool,
        field: fn(&mut T) -> &mut Option<bool>,
    },
    OwnRetention {
        example: Keep,
        field: fn(&mut T) -> &mut Option<Keep>,
    },
}

const DAY: Duration = Duration::from_secs(86_400);

/// A hundred years is "forever" by another name.
pub(crate) const DAYS_MOST: u32 = 36_500;

fn days(text: &str, max: u32) -> Result<u32, String> {
    let period = units::parse_duration(text)?;
    let period = within(period, DAY, DAY * max, units::show_duration)?;
    if !period.as_millis().is_multiple_of(DAY.as_millis()) {
        return Err("wants whole days".to_owned());
    }
    Ok(u32::try_from(period.as_secs() / DAY.as_secs()).unwrap_or(max))
}

fn parse_keep(text: &str) -> Result<Keep, String> {
    match text {
        "delivered" => Ok(Keep::Delivered),
        "forever" => Ok(Keep::Forever),
        period => {
            units::parse_duration(period).map_err(|_| {
                format!(
                    "{text:?} is not one of \"delivered\", \"forever\" or a number of days such as \"30d\""
                )
            })?;
            days(period, DAYS_MOST).map(Keep::Days)
        }
    }
}

fn show_keep(keep: Keep) -> String {
    match keep {
        Keep::Delivered => quoted("delivered"),
        Keep::Days(days) => quoted(&units::show_duration(DAY * days)),
        Keep::Forever => quoted("forever"),
    }
}

impl<T> Value<T> {
    /// Puts the default into its place.
    pub(crate) fn reset(&self, target: &mut T) {
        match self {
            Self::Switch { default, field } => *field(target) = *default,
            Self::Count { default, field, .. } | Self::Size { default, field, .. } => {
                *field(target) = *default;
            }
            Self::Period { default, field, .. } => *field(target) = *default,
            Self::Days { default, field, .. } => *field(target) = *default,
            Self::Addresses { default, field } => {
                *field(target) = default
                    .iter()
                    .map(|a| a.parse().expect("the table's addresses are tested"))
                    .collect();
            }
            Self::Choice { default, field, .. } => *field(target) = default,
            Self::Text { default, field, .. } => (*default).clone_into(field(target)),
            Self::Texts { default, field, .. } => {
                *field(target) = default.iter().map(|text| (*text).to_owned()).collect();
            }
            Self::Hidden { field } => *field(target) = Secret::default(),
            Self::Place { default, field } => *field(target) = PathBuf::from(default),
            Self::OptionalPlace { field, .. } => *field(target) = None,
            Self::Retention { default, field } => *field(target) = *default,
            Self::OwnSwitch { field, .. } => *field(target) = None,
            Self::OwnRetention { field, .. } => *field(target) = None,
        }
    }

    /// Reads `input` into its place, or says in a sentence's end what is wrong with it.
    pub(crate) fn read(&self, target: &mut T, input: &DeValue<'_>) -> Result<(), String> {
        match self {
            Self::Switch { field, .. } => *field(target) = switch(input)?,
            Self::Count {
                min, max, field, ..
            } => *field(target) = within(count(input)?, *min, *max, |n| n.to_string())?,
            Self::Size {
                min, max, field, ..
            } => {
                *field(target) = within(
                    units::parse_size(text(input)?)?,
                    *min,
                    *max,
                    units::show_size,
                )?;
            }
            Self::Period {
                min, max, field, ..
            } => {
                *field(target) = within(
                    units::parse_duration(text(input)?)?,
                    *min,
                    *max,
                    units::show_duration,
                )?;
            }
            Self::Days { max, field, .. } => *field(target) = days(text(input)?, *max)?,
            Self::Addresses { field, .. } => *field(target) = addresses(input)?,
            Self::Choice { of, field, .. } => *field(target) = choice(text(input)?, of)?,
            Self::Text { check, field, .. } => {
                let text = text(input)?;
                check(text)?;
                text.clone_into(field(target));
            }
            Self::Texts { check, field, .. } => *field(target) = texts(input, *check)?,
            Self::Hidden { field } => *field(target) = Secret::from(text(input)?),
            Self::Place { field, .. } => *field(target) = place(input)?,
            Self::OptionalPlace { field, .. } => *field(target) = Some(place(input)?),
            Self::Retention { field, .. } => *field(target) = parse_keep(text(input)?)?,
            Self::OwnSwitch { field, .. } => *field(target) = Some(switch(input)?),
            Self::OwnRetention { field, .. } => *field(target) = Some(parse_keep(text(input)?)?),
        }
        Ok(())
    }

    /// Takes the value that `from` has.
    pub(crate) fn copy(&self, from: &mut T, to: &mut T) {
        match self {
            Self::Switch { field, .. } => *field(to) = *field(from),
            Self::Count { field, .. } | Self::Size { field, .. } => *field(to) = *field(from),
            Self::Period { field, .. } => *field(to) = *field(from),
            Self::Days { field, .. } => *field(to) = *field(from),
            Self::Addresses { field, .. } => field(to).clone_from(field(from)),
            Self::Choice { field, .. } => *field(to) = *field(from),
            Self::Text { field, .. } => field(to).clone_from(field(from)),
            Self::Texts { field, .. } => field(to).clone_from(field(from)),
            Self::Hidden { field } => field(to).clone_from(field(from)),
            Self::Place { field, .. } => field(to).clone_from(field(from)),
            Self::OptionalPlace { field, .. } => field(to).clone_from(field(from)),
            Self::Retention { field, .. } => *field(to) = *field(from),
            Self::OwnSwitch { field, .. } => *field(to) = *field(from),
            Self::OwnRetention { field, .. } => *field(to) = *field(from),
        }
    }

    /// The current value as TOML; `None` when it is one that need not be given and was not.
    pub(crate) fn show(&self, target: &mut T) -> Option<String> {
        Some(match self {
            Self::Switch { field, .. } => field(target).to_string(),
            Self::Count { field, .. } => field(target).to_string(),
            Self::Size { field, .. } => quoted(&units::show_size(*field(target))),
            Self::Period { field, .. } => quoted(&units::show_duration(*field(target))),
            Self::Days { field, .. } => quoted(&units::show_duration(DAY * *field(target))),
            Self::Addresses { field, .. } => list(field(target)),
            Self::Choice { field, .. } => quoted(field(target)),
            Self::Text { field, .. } => quoted(field(target)),
            Self::Texts { field, .. } => list(field(target)),
            Self::Hidden { field } => quoted(field(target).expose()),
            Self::Place { field, .. } => quoted(&field(target).to_string_lossy()),
            Self::OptionalPlace { field, .. } => quoted(&field(target).as_ref()?.to_string_lossy()),
            Self::Retention { field, .. } => show_keep(*field(target)),
            Self::OwnSwitch { field, .. } => (*field(target))?.to_string(),
            Self::OwnRetention { field, .. } => show_keep((*field(target))?),
        })
    }

    /// What the example shows, commented out, for a key that need not be given.
    pub(crate) fn example(&self) -> Option<String> {
        match self {
            Self::OptionalPlace { example, .. } => Some(quoted(example)),
            Self::OwnSwitch { example, .. } => Some(example.to_string()),
            Self::OwnRetention { example, .. } => Some(show_keep(*example)),
            _ => None,
        }
    }

    /// The bounds or choices, for the example's comment.
    pub(crate) fn bounds(&self) -> Option<String> {
        match self {
            Self::Count { min, max, .. } => Some(format!("{min} to {max}")),
            Self::Size { min, max, .. } => Some(format!(
                "{} to {}",
                units::show_size(*min),
                units::show_size(*max)
            )),
            Self::Period { min, max, .. } => Some(format!(
                "{} to {}",
                units::show_duration(*min),
                units::show_duration(*max)
            )),
            Self::Days { max, .. } => Some(format!(
                "{} to {}",
                units::show_duration(DAY),
                units::show_duration(DAY * *max)
            )),
            Self::Choice { of, .. } => {
                Some(of.iter().map(|c| quoted(c)).collect::<Vec<_>>().join(", "))
            }
            Self::Retention { .. } | Self::OwnRetention { .. } => {
                Some("\"delivered\", \"forever\" or a number of days such as \"30d\"".to_owned())
            }
            _ => None,
        }
    }

    /// The place of a path, for resolving relative ones.
    pub(crate) fn path<'a>(&self, target: &'a mut T) -> Option<&'a mut PathBuf> {
        match self {
            Self::Place { field, .. } => Some(field(target)),
            Self::OptionalPlace { field, .. } => field(target).as_mut(),
            _ => None,
        }
    }
}

fn switch(input: &DeValue<'_>) -> Result<bool, String> {
    input.as_bool().ok_or_else(|| wants("true or false", input))
}

fn count(input: &DeValue<'_>) -> Result<u64, String> {
    let integer = input
        .as_integer()
        .ok_or_else(|| wants("a whole number", input))?;
    u64::from_str_radix(integer.as_str(), integer.radix())
        .map_err(|_| format!("{integer} is not a number this can be"))
}

fn text<'a>(input: &'a DeValue<'_>) -> Result<&'a str, String> {
    input
        .as_str()
        .ok_or_else(|| wants("a text in quotes", input))
}

fn place(input: &DeValue<'_>) -> Result<PathBuf, String> {
    match text(input)? {
        "" => Err("the path is empty".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

/// A listener binds a handful of addresses, a host has a handful of contacts; more is a mistake.
const LIST_MOST: usize = 64;

fn addresses(input: &DeValue<'_>) -> Result<Vec<SocketAddr>, String> {
    items(
        input,
        "addresses such as [\"127.0.0.1:5222\"]; [] for none",
        |text| {
            text.parse().map_err(|_| {
            format!(
                "{text:?} is not an address with a port; write for example \"0.0.0.0:5222\" or \"[::]:5222\""
            )
        })
        },
    )
}

fn texts(
    input: &DeValue<'_>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<Vec<String>, String> {
    items(input, "texts in quotes; [] for none", |text| {
        check(text).map(|()| text.to_owned())
    })
}

fn items<V>(
    input: &DeValue<'_>,
    what: &str,
    read: impl Fn(&str) -> Result<V, String>,
) -> Result<Vec<V>, String> {
    let list = input
        .as_array()
        .ok_or_else(|| wants(&format!("a list of {what}"), input))?;
    if list.len() > LIST_MOST {
        return Err(format!("has more than {LIST_MOST} entries"));
    }
    list.iter()
        .map(|item| read(text(item.get_ref())?))
        .collect()
}

fn choice(text: &str, of: &[&'static str]) -> Result<&'static str, String> {
    of.iter().find(|c| **c == text).copied().ok_or_else(|| {
        let known: Vec<_> = of.iter().map(|c| quoted(c)).collect();
        format!("{text:?} is not one of {}", known.join(", "))
    })
}

fn within<V: PartialOrd + Copy>(
    value: V,
    min: V,
    max: V,
    show: impl Fn(V) -> String,
) -> Result<V, String> {
    if value < min || value > max {
        return Err(format!(
            "{} is not within {} to {}",
            show(value),
            show(min),
            show(max)
        ));
    }
    Ok(value)
}

fn wants(what: &str, got: &DeValue<'_>) -> String {
    format!(
        "wants {what}, not {} {}",
        article(got.type_str()),
        got.type_str()
    )
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}

fn list(items: &[impl ToString]) -> String {
    let each: Vec<_> = items.iter().map(|item| quoted(&item.to_string())).collect();
    format!("[{}]", each.join(", "))
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
