//! The regions of AWS and their KMS hosts: a compiled table, because a host name is never made from what a parent sent.
use std::fmt;

/// A region of AWS.
#[derive(Debug, PartialEq, Eq)]
pub struct Region {
    name: &'static str,
    host: &'static str,
    fips_host: Option<&'static str>,
}

macro_rules! regions {
    ($($name:literal $suffix:literal $fips:tt),* $(,)?) => {
        &[$(Region {
            name: $name,
            host: concat!("kms.", $name, ".", $suffix),
            fips_host: regions!(@$fips $name $suffix),
        }),*]
    };
    (@fips $name:literal $suffix:literal) => { Some(concat!("kms-fips.", $name, ".", $suffix)) };
    (@none $name:literal $suffix:literal) => { None };
}

/// From AWS's endpoint metadata (botocore 1.44.5, `endpoints.json`, service "kms"). The isolated partitions are left
/// out: their hosts have other roots, and need a measured policy with a root of its own.
const REGIONS: &[Region] = regions![
    "af-south-1" "amazonaws.com" fips,
    "ap-east-1" "amazonaws.com" fips,
    "ap-east-2" "amazonaws.com" none,
    "ap-northeast-1" "amazonaws.com" fips,
    "ap-northeast-2" "amazonaws.com" fips,
    "ap-northeast-3" "amazonaws.com" fips,
    "ap-south-1" "amazonaws.com" fips,
    "ap-south-2" "amazonaws.com" fips,
    "ap-southeast-1" "amazonaws.com" fips,
    "ap-southeast-2" "amazonaws.com" fips,
    "ap-southeast-3" "amazonaws.com" fips,
    "ap-southeast-4" "amazonaws.com" fips,
    "ap-southeast-5" "amazonaws.com" fips,
    "ap-southeast-6" "amazonaws.com" none,
    "ap-southeast-7" "amazonaws.com" fips,
    "ca-central-1" "amazonaws.com" fips,
    "ca-west-1" "amazonaws.com" fips,
    "cn-north-1" "amazonaws.com.cn" none,
    "cn-northwest-1" "amazonaws.com.cn" none,
    "eu-central-1" "amazonaws.com" fips,
    "eu-central-2" "amazonaws.com" fips,
    "eu-north-1" "amazonaws.com" fips,
    "eu-south-1" "amazonaws.com" fips,
    "eu-south-2" "amazonaws.com" fips,
    "eu-west-1" "amazonaws.com" fips,
    "eu-west-2" "amazonaws.com" fips,
    "eu-west-3" "amazonaws.com" fips,
    "eusc-de-east-1" "amazonaws.eu" none,
    "il-central-1" "amazonaws.com" fips,
    "me-central-1" "amazonaws.com" fips,
    "me-south-1" "amazonaws.com" fips,
    "mx-central-1" "amazonaws.com" fips,
    "sa-east-1" "amazonaws.com" fips,
    "us-east-1" "amazonaws.com" fips,
    "us-east-2" "amazonaws.com" fips,
    "us-gov-east-1" "amazonaws.com" fips,
    "us-gov-west-1" "amazonaws.com" fips,
    "us-west-1" "amazonaws.com" fips,
    "us-west-2" "amazonaws.com" fips,
];

impl Region {
    /// The region of that name.
    ///
    /// # Errors
    /// No region of the table has it; the error names the nearest.
    pub fn find(name: &str) -> Result<&'static Self, UnknownRegion> {
        REGIONS.iter().find(|region| region.name == name).ok_or_else(|| UnknownRegion::of(name))
    }

    /// For instance "us-east-1".
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The host of KMS.
    #[must_use]
    pub const fn host(&self) -> &'static str {
        self.host
    }

    /// The host of KMS with FIPS 140 validated cryptography, where there is one.
    #[must_use]
    pub const fn fips_host(&self) -> Option<&'static str> {
        self.fips_host
    }
}

/// A region that the table does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRegion {
    got: String,
    nearest: &'static str,
}

impl UnknownRegion {
    fn of(name: &str) -> Self {
        // Bounded before it is compared: the table's longest name has 14 bytes.
        let compared: Vec<char> = name.chars().take(32).map(|char| char.to_ascii_lowercase()).collect();
        let nearest = REGIONS.iter().map(Region::name).min_by_key(|known| distance(&compared, known));
        Self { got: super::shown(name, 64), nearest: nearest.unwrap_or("us-east-1") }
    }
}

impl fmt::Display for UnknownRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "unknown AWS region in `aws_region`: got {}, the nearest that is known is \"{}\"; correct it (a region newer than this \
             version, or a private endpoint, is named by the measured policy)",
            self.got, self.nearest
        )
    }
}

impl std::error::Error for UnknownRegion {}

/// How many characters must be changed, put in or taken out to make one name of the other (Levenshtein).
fn distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (i, wanted) in to.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, found) in from.iter().enumerate() {
            let changed = diagonal + usize::from(*found != wanted);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_hosts() {
        let hosts = |name| Region::find(name).map(|region| (region.host(), region.fips_host())).unwrap();
        assert_eq!(hosts("us-east-1"), ("kms.us-east-1.amazonaws.com", Some("kms-fips.us-east-1.amazonaws.com")));
        assert_eq!(hosts("us-gov-west-1").1, Some("kms-fips.us-gov-west-1.amazonaws.com"));
        assert_eq!(hosts("cn-northwest-1"), ("kms.cn-northwest-1.amazonaws.com.cn", None));
        assert_eq!(hosts("eusc-de-east-1"), ("kms.eusc-de-east-1.amazonaws.eu", None));
    }

    #[test]
    fn the_table_is_sorted_and_every_host_is_amazons() {
        assert!(REGIONS.is_sorted_by(|one, next| one.name < next.name));
        for region in REGIONS {
            let suffix = [".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu"];
            assert!(suffix.iter().any(|suffix| region.host.ends_with(suffix)), "{region:?}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        for (got, nearest) in [
            ("us-east1", "us-east-1"),
            ("eu-centra-1", "eu-central-1"),
            ("US-WEST-2", "us-west-2"),
            ("us-west-22", "us-west-2"),
        ] {
            assert_eq!(Region::find(got).unwrap_err().nearest, nearest, "{got}");
        }
    }

    #[test]
    fn a_crafted_name_reaches_no_host_and_no_terminal() {
        for name in
            ["", "evil.example/", "us-east-1.evil.example", "us-east-1\r\nX: y", "us-east-1\0", &"a".repeat(100_000)]
        {
            let text = Region::find(name).unwrap_err().to_string();
            assert!(text.len() < 400 && !text.contains(['\r', '\n', '\0']), "{text:?}");
        }
    }
}
