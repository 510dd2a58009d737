//! Settings out of TOML, gathering every fault with its place.
//!
//! serde stops at the first fault and knows no place of a missing sense, so the parsed table is walked by hand: each
//! known key is taken out, what is left over is unknown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    AccessLog, ClientCertificates, Consensus, Fault, Limits, Listener, Settings, Source, Timeouts,
    Tls, access, tls, tracing,
};
use crate::config::{Address, Network};
use crate::telemetry::access_log::Format;

/// Reads the text; the settings are meaningful only when no fault came with them.
pub(super) fn read(name: &str, text: &str) -> (Settings, Source, Vec<Fault>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::default();
    for error in errors {
        reader.faults.push(Fault {
            key: String::new(),
            detail: error.message().to_owned(),
            place: Some(error.span().unwrap_or(0..0)),
        });
    }
    let mut settings = Settings::default();
    if reader.faults.is_empty() {
        read_root(&mut reader, table.into_inner(), &mut settings);
    }
    reader
        .faults
        .sort_by_key(|fault| fault.place.as_ref().map(|place| place.start));
    let source = Source {
        name: name.into(),
        text: text.into(),
        places: reader.places,
    };
    (settings, source, reader.faults)
}

/// The keys of the root.
const KNOWN: &[&str] = &[
    "node",
    "data",
    "threads",
    "access_log",
    "access_log_format",
    "allow_plaintext",
    "admin",
    "backend_tls",
    "peer",
    "consensus",
    "timeouts",
    "limits",
    "tracing",
    "voters",
    "join",
    "listeners",
];

fn read_root(reader: &mut Reader, table: DeTable<'_>, settings: &mut Settings) {
    let mut root = Section::new("", table);
    read_node(reader, &mut root, settings);
    if let Some(section) = root.section(reader, "admin") {
        read_admin(reader, section, settings);
    }
    if let Some(section) = root.section(reader, "peer") {
        read_peer(reader, section, settings);
    }
    if let Some(section) = root.section(reader, "consensus") {
        read_consensus(reader, section, &mut settings.consensus);
    }
    if let Some(section) = root.section(reader, "timeouts") {
        read_timeouts(reader, section, &mut settings.timeouts);
    }
    if let Some(section) = root.section(reader, "limits") {
        read_limits(reader, section, &mut settings.limits);
    }
    tls::read_backends(reader, &mut root, &mut settings.backend_tls);
    settings.tracing = tracing::read(reader, &mut root);
    if let Some(section) = root.section(reader, "voters") {
        read_voters(reader, section, settings);
    }
    if let Some((place, value)) = root.take(reader, "join") {
        read_join(reader, place, value, &mut settings.join);
    }
    if let Some((place, value)) = root.take(reader, "listeners") {
        read_listeners(reader, place, value, settings);
    }
    root.end(reader, KNOWN);
}

/// What stands ahead of all tables.
fn read_node(reader: &mut Reader, root: &mut Section<'_>, settings: &mut Settings) {
    root.text(reader, "node", &mut settings.node);
    root.parsed(reader, "data", "a directory", &mut settings.data, |text| {
        Some(text.into())
    });
    root.count(reader, "threads", &mut settings.threads);
    root.parsed(
        reader,
        "access_log",
        "a file or `-`",
        &mut settings.access_log,
        |text| Some(Some(AccessLog::parse(text))),
    );
    root.parsed(
        reader,
        "access_log_format",
        "\"json\" or \"combined\"",
        &mut settings.access_log_format,
        |text| match text {
            "json" => Some(Format::Json),
            "combined" => Some(Format::Combined),
            _ => None,
        },
    );
    root.flag(reader, "allow_plaintext", &mut settings.allow_plaintext);
}

fn read_admin(reader: &mut Reader, mut section: Section<'_>, settings: &mut Settings) {
    section.address(reader, "address", &mut settings.admin);
    settings.admin_tls = tls::read(reader, &mut section, "tls", &["http/1.1"]);
    settings.access = access::read(reader, &mut section);
    section.end(reader, &["address", "clients", "tls", "tokens"]);
}

fn read_peer(reader: &mut Reader, mut section: Section<'_>, settings: &mut Settings) {
    section.address(reader, "address", &mut settings.peer);
    section.parsed(
        reader,
        "advertise",
        PEER_ADDRESS,
        &mut settings.advertise,
        |text| peer_address(text).map(Some),
    );
    settings.peer_tls = tls::read_peer(reader, &mut section);
    section.end(reader, &["address", "advertise", "tls"]);
}

fn read_consensus(reader: &mut Reader, mut section: Section<'_>, consensus: &mut Consensus) {
    section.duration(reader, "heartbeat", &mut consensus.heartbeat);
    section.duration(reader, "election_timeout", &mut consensus.election_timeout);
    section.count(
        reader,
        "checkpoint_commands",
        &mut consensus.checkpoint_commands,
    );
    section.count(reader, "checkpoint_mib", &mut consensus.checkpoint_mib);
    section.end(
        reader,
        &[
            "heartbeat",
            "election_timeout",
            "checkpoint_commands",
            "checkpoint_mib",
        ],
    );
}

fn read_timeouts(reader: &mut Reader, mut section: Section<'_>, timeouts: &mut Timeouts) {
    section.duration(reader, "client_headers", &mut timeouts.client_headers);
    section.duration(reader, "keep_alive", &mut timeouts.keep_alive);
    section.duration(reader, "grace", &mut timeouts.grace);
    section.duration(reader, "drain", &mut timeouts.drain);
    section.end(reader, &["client_headers", "keep_alive", "grace", "drain"]);
}

fn read_limits(reader: &mut Reader, mut section: Section<'_>, limits: &mut Limits) {
    section.limit(reader, "requests", &mut limits.requests);
    section.limit(reader, "connections", &mut limits.connections);
    section.end(reader, &["requests", "connections"]);
}

fn read_voters(reader: &mut Reader, section: Section<'_>, settings: &mut Settings) {
    for (name, value) in section.table {
        let key = format!("voters.{}", name.get_ref());
        let place = value.span();
        match value.get_ref().as_str().and_then(peer_address) {
            Some(address) => {
                settings
                    .voters
                    .insert(name.into_inner().into_owned(), address);
            }
            None => reader.fault(
                key,
                place,
                format!("expected {PEER_ADDRESS}, the voter's peer address"),
            ),
        }
    }
}

fn read_join(
    reader: &mut Reader,
    place: Range<usize>,
    value: DeValue<'_>,
    join: &mut Vec<Address>,
) {
    let expected = "expected a list of voters' peer addresses, such as [\"127.0.0.1:9901\", \"a.internal:9901\"]";
    let DeValue::Array(items) = value else {
        return reader.fault("join".into(), place, expected.into());
    };
    for item in items {
        match item.get_ref().as_str().and_then(peer_address) {
            Some(address) => join.push(address),
            None => reader.fault("join".into(), item.span(), expected.into()),
        }
    }
}

fn read_listeners(
    reader: &mut Reader,
    place: Range<usize>,
    value: DeValue<'_>,
    settings: &mut Settings,
) {
    let DeValue::Array(items) = value else {
        return reader.fault(
            "listeners".into(),
            place,
            "expected tables, each headed `[[listeners]]`".into(),
        );
    };
    settings.listeners.clear();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("listeners[{index}]");
        let place = item.span();
        let DeValue::Table(table) = item.into_inner() else {
            reader.fault(path, place, "expected a table with `address`".into());
            continue;
        };
        let mut section = Section::new(&path, table);
        let mut address = None;
        section.parsed(reader, "address", ADDRESS, &mut address, |text| {
            text.parse().ok().map(Some)
        });
        let mut listener = Listener::at(address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))));
        section.flag(reader, "revision_header", &mut listener.revision_header);
        section.flag(reader, "forwarded_header", &mut listener.forwarded_header);
        section.flag(reader, "real_ip_header", &mut listener.real_ip_header);
        section.flag(
            reader,
            "client_cert_header",
            &mut listener.client_cert_header,
        );
        section.flag(reader, "proxy_protocol", &mut listener.proxy_protocol);
        if let Some((place, value)) = section.take(reader, "trusted") {
            read_networks(
                reader,
                format!("{path}.trusted"),
                place,
                value,
                &mut listener.trusted,
            );
        }
        listener.tls = tls::read(reader, &mut section, "tls", &["h2", "http/1.1", "http/1.0"]);
        if listener.client_cert_header {
            check_asks(reader, section.key("client_cert_header"), &listener);
        }
        section.end(
            reader,
            &[
                "address",
                "client_cert_header",
                "forwarded_header",
                "proxy_protocol",
                "real_ip_header",
                "revision_header",
                "tls",
                "trusted",
            ],
        );
        if address.is_none() && !reader.places.contains_key(&format!("{path}.address")) {
            reader.fault(path, place, "this listener has no `address`".into());
        }
        settings.listeners.push(listener);
    }
}

/// Certificates of clients are told only where clients are asked for them.
fn check_asks(reader: &mut Reader, key: String, listener: &Listener) {
    let asks = |tls: &Tls| tls.clients != ClientCertificates::None;
    if let Some(place) = reader.places.get(&key).cloned()
        && !listener.tls.as_ref().is_some_and(asks)
    {
        let detail = "needs `client_ca` in `tls`: no client shows a certificate here";
        reader.fault(key, place, detail.into());
    }
}

fn read_networks(
    reader: &mut Reader,
    key: String,
    place: Range<usize>,
    value: DeValue<'_>,
    to: &mut Vec<Network>,
) {
    let DeValue::Array(items) = value else {
        return reader.fault(
            key,
            place,
            "expected a list of networks such as [\"10.0.0.0/8\"]".into(),
        );
    };
    for item in items {
        let place = item.span();
        match item.get_ref().as_str().map(str::parse) {
            Some(Ok(network)) => to.push(network),
            Some(Err(bad)) => reader.fault(key.clone(), place, bad.to_string()),
            None => reader.fault(
                key.clone(),
                place,
                "expected a network such as \"10.0.0.0/8\"".into(),
            ),
        }
    }
}

/// What other nodes call: no Unix socket, for it has to be reached from their machines.
pub(crate) fn peer_address(text: &str) -> Option<Address> {
    let address = text.parse().ok();
    address.filter(|address| !matches!(address, Address::Unix(_)))
}

pub(crate) const PEER_ADDRESS: &str = "an IP address or host name with a port from 1 to 65535, such as \
                                       \"127.0.0.1:9901\" or \"a.internal:9901\"";
const ADDRESS: &str = "an address with a port, such as \"127.0.0.1:9900\"";

#[derive(Default)]
pub(super) struct Reader {
    faults: Vec<Fault>,
    pub(super) places: BTreeMap<String, Range<usize>>,
}

impl Reader {
    pub(super) fn fault(&mut self, key: String, place: Range<usize>, detail: String) {
        self.faults.push(Fault {
            key,
            detail,
            place: Some(place),
        });
    }
}

/// One table, out of which known keys are taken.
pub(super) struct Section<'i> {
    path: String,
    table: DeTable<'i>,
}

impl<'i> Section<'i> {
    pub(super) fn new(path: &str, table: DeTable<'i>) -> Self {
        Self {
            path: path.into(),
            table,
        }
    }

    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.into()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    /// Of all that was not taken.
    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.table.keys();
        keys.map(|key| key.get_ref().to_string()).collect()
    }

    pub(super) fn take(
        &mut self,
        reader: &mut Reader,
        name: &str,
    ) -> Option<(Range<usize>, DeValue<'i>)> {
        let value: Spanned<DeValue<'i>> = self.table.remove(name)?;
        let place = value.span();
        reader.places.insert(self.key(name), place.clone());
        Some((place, value.into_inner()))
    }

    pub(super) fn section(&mut self, reader: &mut Reader, name: &str) -> Option<Section<'i>> {
        let (place, value) = self.take(reader, name)?;
        match value {
            DeValue::Table(table) => Some(Section::new(&self.key(name), table)),
            other => {
                let detail = format!(
                    "expected a table headed `[{name}]`, found {}",
                    other.type_str()
                );
                reader.fault(self.key(name), place, detail);
                None
            }
        }
    }

    pub(super) fn parsed<T>(
        &mut self,
        reader: &mut Reader,
        name: &str,
        expected: &str,
        to: &mut T,
        parse: impl FnOnce(&str) -> Option<T>,
    ) {
        let Some((place, value)) = self.take(reader, name) else {
            return;
        };
        match value.as_str().and_then(parse) {
            Some(value) => *to = value,
            None => reader.fault(self.key(name), place, format!("expected {expected}")),
        }
    }

    fn text(&mut self, reader: &mut Reader, name: &str, to: &mut String) {
        self.parsed(reader, name, "a string", to, |text| Some(text.to_owned()));
    }

    fn address(&mut self, reader: &mut Reader, name: &str, to: &mut SocketAddr) {
        self.parsed(reader, name, ADDRESS, to, |text| text.parse().ok());
    }

    fn duration(&mut self, reader: &mut Reader, name: &str, to: &mut Duration) {
        self.parsed(
            reader,
            name,
            "a duration, such as \"500ms\" or \"2s\"",
            to,
            |text| text.parse::<jiff::SignedDuration>().ok()?.try_into().ok(),
        );
    }

    fn flag(&mut self, reader: &mut Reader, name: &str, to: &mut bool) {
        if let Some((place, value)) = self.take(reader, name) {
            match value.as_bool() {
                Some(value) => *to = value,
                None => reader.fault(self.key(name), place, "expected true or false".into()),
            }
        }
    }

    fn count(&mut self, reader: &mut Reader, name: &str, to: &mut usize) {
        if let Some((place, value)) = self.take(reader, name) {
            let number = value
                .as_integer()
                .and_then(|number| usize::from_str_radix(number.as_str(), number.radix()).ok());
            match number {
                Some(number) => *to = number,
                None => reader.fault(self.key(name), place, "expected a whole number".into()),
            }
        }
    }

    /// A number of at least 1.
    fn limit(&mut self, reader: &mut Reader, name: &str, to: &mut Option<u32>) {
        if let Some((place, value)) = self.take(reader, name) {
            let number = value
                .as_integer()
                .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
            match number {
                Some(1..) => *to = number,
                _ => {
                    let detail = "expected a whole number of at least 1";
                    reader.fault(self.key(name), place, detail.into());
                }
            }
        }
    }

    /// What was not taken is unknown.
    pub(super) fn end(self, reader: &mut Reader, known: &[&str]) {
        let known = known
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", ");
        for name in self.table.keys() {
            let detail = format!("unknown key `{}`; known here are {known}", name.get_ref());
            reader.fault(self.key(name.get_ref()), name.span(), detail);
        }
    }
}
