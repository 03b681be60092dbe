//! DER (X.690), as much as certificates, timestamps and CSRs need: written by hand, so that odd ones can be
//! written.

/// Tag, length, content.
pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = vec![tag];
    match length {
        0..=0x7f => der.push(length as u8),
        0x80..=0xff => der.extend([0x81, length as u8]),
        _ => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    assert!(length <= 0xffff, "longer than anything written here");
    der.extend(content);
    der
}

pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

/// SET OF: DER wants its members sorted.
pub fn set(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tlv(0x31, &parts.concat())
}

/// `[number] EXPLICIT`, and `IMPLICIT` of what is constructed.
pub fn tagged(number: u8, content: &[u8]) -> Vec<u8> {
    tlv(0xa0 | number, content)
}

/// A number that is not negative.
pub fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let mut content = bytes[first..].to_vec();
    if content.first().is_none_or(|byte| byte & 0x80 != 0) {
        content.insert(0, 0);
    }
    tlv(2, &content)
}

pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(4, content)
}

pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], content].concat())
}

pub fn utf8(text: &str) -> Vec<u8> {
    tlv(0x0c, text.as_bytes())
}

pub fn yes() -> Vec<u8> {
    tlv(1, &[0xff])
}

pub fn oid(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = vec![(arcs[0] * 40 + arcs[1]) as u8];
    for arc in &arcs[2..] {
        let mut bytes = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            bytes.insert(0, 0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        content.extend(bytes);
    }
    tlv(6, &content)
}

/// GeneralizedTime, in whole seconds (RFC 3161, `genTime`).
pub fn generalized(time: jiff::Timestamp) -> Vec<u8> {
    tlv(0x18, time.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes())
}

/// Time as in certificates (RFC 5280, section 4.1.2.5): UTCTime before 2050.
pub fn time(time: jiff::Timestamp) -> Vec<u8> {
    match time.strftime("%Y").to_string().as_str() < "2050" {
        true => tlv(0x17, time.strftime("%y%m%d%H%M%SZ").to_string().as_bytes()),
        false => generalized(time),
    }
}

/// A name of an organization and a common name.
pub fn name(common: &str) -> Vec<u8> {
    let part = |id: &str, text: &str| set(vec![sequence(&[oid(id), utf8(text)])]);
    sequence(&[part("2.5.4.10", "virtual.example"), part("2.5.4.3", common)])
}

/// One element that was read.
#[derive(Clone, Copy, Debug)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Exactly one element.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        match all(der)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// What is inside.
    pub fn children(&self) -> Option<Vec<Self>> {
        all(self.content)
    }
}

fn all(mut der: &[u8]) -> Option<Vec<Element<'_>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (header, length) = match *der.get(1)? {
            short @ 0..=0x7f => (2, usize::from(short)),
            0x81 => (3, usize::from(*der.get(2)?)),
            0x82 => (4, usize::from(*der.get(2)?) << 8 | usize::from(*der.get(3)?)),
            _ => return None,
        };
        let whole = der.get(..header + length)?;
        found.push(Element { tag: der[0], content: &whole[header..], whole });
        der = &der[header + length..];
    }
    Some(found)
}
