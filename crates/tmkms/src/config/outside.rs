//! The sections `[metrics]` and `[log]`: how the process is seen from outside.
use super::fields::{At, Fields, shorten};
use super::{LogFormat, LogLevel, LogSettings, MetricsSettings};
use std::net::SocketAddr;
use std::time::Duration;

/// How long votes may stay away before `/healthz` fails, unless `[metrics] unhealthy_after` says otherwise.
const DEFAULT_UNHEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The names of the log's levels.
pub(super) const LEVELS: [(&str, LogLevel); 4] =
    [("error", LogLevel::Error), ("warn", LogLevel::Warn), ("info", LogLevel::Info), ("debug", LogLevel::Debug)];

pub(super) fn read_metrics(fields: &mut Fields<'_, '_>) -> Option<MetricsSettings> {
    let limit = fields.number("unhealthy_after", "1 to 86400 seconds", 1..=86_400);
    let limit = limit.and_then(|seconds| u64::try_from(seconds.value).ok());
    Some(MetricsSettings {
        listen: read_listen(fields)?,
        unhealthy_after: limit.map_or(DEFAULT_UNHEALTHY_AFTER, Duration::from_secs),
    })
}

fn read_listen(fields: &mut Fields<'_, '_>) -> Option<SocketAddr> {
    let help = "write an IP address and a port: listen = \"127.0.0.1:26661\"";
    let At { value, at } = fields.required_text("listen", help)?;
    let address: Option<SocketAddr> = value.parse().ok();
    match address {
        None => {
            let message =
                format!("`listen` in [metrics]: expected an IP address and a port, got \"{}\"", shorten(value));
            fields.fault(&at, message, help);
        }
        Some(address) if !address.ip().is_loopback() => fields.warn(
            &at,
            format!("the metrics on {address} can be read from other machines, and are not encrypted"),
            "prefer 127.0.0.1, or let a firewall admit only the collector",
        ),
        Some(_) => {}
    }
    address
}

pub(super) fn read_log(fields: &mut Fields<'_, '_>) -> LogSettings {
    let format = fields.choice("format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
    let level = fields.choice("level", &LEVELS);
    let default = LogSettings::default();
    LogSettings {
        format: format.map_or(default.format, |found| found.value),
        level: level.map_or(default.level, |found| found.value),
    }
}
