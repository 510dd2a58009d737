//! The `tracing` table: which requests are traced, and who is told.

use toml::de::DeValue;

use super::reader::{Reader, Section};
use crate::telemetry::traces::{Endpoint, Share};

/// Traces of requests, told to a collector by OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// The collector.
    pub otlp: Endpoint,
    /// Of how many requests, where no trusted client has decided.
    pub sample: Share,
    /// What this node is called there, alike on all nodes of a group.
    pub service: String,
}

const URL: &str = "the URL of a collector, such as \"http://127.0.0.1:4318/v1/traces\"";

/// Reads the table, if there is one.
pub(super) fn read(reader: &mut Reader, root: &mut Section<'_>) -> Option<Tracing> {
    let mut section = root.section(reader, "tracing")?;
    let mut otlp = None;
    section.parsed(reader, "otlp", URL, &mut otlp, |text| {
        text.parse().ok().map(Some)
    });
    let mut sample = Share::ALL;
    if let Some((place, value)) = section.take(reader, "sample_percent") {
        match percent(&value) {
            Some(share) => sample = share,
            None => {
                let detail = "expected a number from 0 to 100, such as 5 or 0.1";
                reader.fault(section.key("sample_percent"), place, detail.into());
            }
        }
    }
    let mut service = "synod".to_owned();
    let expected = "a name, such as \"edge\"";
    section.parsed(reader, "service", expected, &mut service, |text| {
        (!text.trim().is_empty()).then(|| text.to_owned())
    });
    section.end(reader, &["otlp", "sample_percent", "service"]);
    if otlp.is_none() && !reader.places.contains_key("tracing.otlp") {
        let place = reader.places.get("tracing").cloned().unwrap_or_default();
        let detail = format!("no `otlp`; expected {URL}");
        reader.fault("tracing".into(), place, detail);
    }
    Some(Tracing {
        otlp: otlp?,
        sample,
        service,
    })
}

fn percent(value: &DeValue<'_>) -> Option<Share> {
    let number = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => return None,
    };
    Share::percent(number.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn read(lines: &str) -> Result<Option<Tracing>, Vec<String>> {
        match Settings::parse("synod.toml", &format!("[tracing]\n{lines}\n")) {
            Ok((settings, _)) => Ok(settings.tracing),
            Err(error) => Err(error.faults.into_iter().map(|fault| fault.key).collect()),
        }
    }

    #[test]
    fn all_requests_are_traced_unless_a_share_is_told() {
        for (line, share) in [
            ("", 100.0),
            ("sample_percent = 5", 5.0),
            ("sample_percent = 0.1", 0.1),
            ("sample_percent = 0", 0.0),
        ] {
            let url = "http://127.0.0.1:4318";
            let tracing = read(&format!("otlp = \"{url}\"\n{line}")).unwrap().unwrap();
            assert_eq!(tracing.otlp, url.parse().unwrap());
            assert_eq!(Some(tracing.sample), Share::percent(share), "{line}");
            assert_eq!(tracing.service, "synod");
        }
    }

    #[test]
    fn the_table_is_read_strictly() {
        let url = "otlp = \"http://127.0.0.1:4318\"";
        for (lines, key) in [
            ("", "tracing"),
            ("otlp = \"127.0.0.1:4318\"", "tracing.otlp"),
            ("otlp = 4318", "tracing.otlp"),
            (
                &format!("{url}\nsample_percent = 101"),
                "tracing.sample_percent",
            ),
            (
                &format!("{url}\nsample_percent = -1"),
                "tracing.sample_percent",
            ),
            (
                &format!("{url}\nsample_percent = nan"),
                "tracing.sample_percent",
            ),
            (
                &format!("{url}\nsample_percent = \"5\""),
                "tracing.sample_percent",
            ),
            (&format!("{url}\nservice = \" \""), "tracing.service"),
            (&format!("{url}\nsample = 5"), "tracing.sample"),
        ] {
            assert_eq!(read(lines), Err(vec![key.to_owned()]), "{lines}");
        }
    }
}
