//! Times as people and programs read them. The C library knows the calendar and
//! the local zone; what it said for one second serves all packets of it.
use crate::observation::UnixNanos;

const NANOS: u64 = 1_000_000_000;

/// Writes times; remembers the last second.
#[derive(Debug)]
pub struct Clock {
    second: u64,
    text: Vec<u8>,
    utc: bool,
}

impl Clock {
    /// Local time of day, `23:59:59.123456`.
    pub fn local() -> Clock {
        Clock {
            second: u64::MAX,
            text: Vec::new(),
            utc: false,
        }
    }

    /// RFC 3339 in UTC with nanoseconds, `2026-11-20T23:59:59.123456789Z`.
    pub fn rfc3339() -> Clock {
        Clock {
            second: u64::MAX,
            text: Vec::new(),
            utc: true,
        }
    }

    /// Appends a time.
    pub fn push(&mut self, out: &mut Vec<u8>, at: UnixNanos) {
        let (second, nanos) = (at / NANOS, (at % NANOS) as u32);
        if second != self.second {
            self.text = render(second, self.utc);
            self.second = second;
        }
        out.extend_from_slice(&self.text);
        let (fraction, digits) = if self.utc {
            (nanos, 9)
        } else {
            (nanos / 1000, 6)
        };
        let mut place = 10u32.pow(digits - 1);
        for _ in 0..digits {
            out.push(b'0' + (fraction / place % 10) as u8);
            place = (place / 10).max(1);
        }
        if self.utc {
            out.push(b'Z');
        }
    }
}

fn render(second: u64, utc: bool) -> Vec<u8> {
    let second = second as libc::time_t;
    // SAFETY: both fill the struct that they are given, which is plain data.
    let time = unsafe {
        let mut time: libc::tm = std::mem::zeroed();
        if utc {
            libc::gmtime_r(&second, &mut time);
        } else {
            libc::localtime_r(&second, &mut time);
        }
        time
    };
    let of_day = format!("{:02}:{:02}:{:02}.", time.tm_hour, time.tm_min, time.tm_sec);
    if utc {
        let (year, month) = (time.tm_year + 1900, time.tm_mon + 1);
        format!("{year:04}-{month:02}-{:02}T{of_day}", time.tm_mday).into_bytes()
    } else {
        of_day.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_rfc_3339_says() {
        let mut clock = Clock::rfc3339();
        let mut out = Vec::new();
        clock.push(&mut out, 1_795_219_199_000_000_007);
        out.push(b' ');
        clock.push(&mut out, 0);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "2026-11-20T23:59:59.000000007Z 1970-01-01T00:00:00.000000000Z"
        );
    }
}
