//! Small pictures for the report: PNG files as data URIs, without a compressor.
//!
//! PNG asks for deflate, and deflate allows blocks that are stored as they are (RFC 1951, 3.2.4).

/// An RGB colour.
pub(crate) type Colour = [u8; 3];

/// A picture of up to 256 colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    width: u32,
    height: u32,
    palette: Vec<Colour>,
    /// One palette index a pixel, row after row.
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture, or `None` when there is no pixel, the pixels do not fill whole rows, or one has
    /// no colour in the palette.
    pub(crate) fn new(width: u32, palette: Vec<Colour>, pixels: Vec<u8>) -> Option<Self> {
        let row = usize::try_from(width).ok().filter(|&row| row > 0)?;
        let height = u32::try_from(pixels.len() / row).ok()?;
        let colours = palette.len();
        let valid = height > 0
            && pixels.len().is_multiple_of(row)
            && colours <= 256
            && pixels.iter().all(|&pixel| usize::from(pixel) < colours);
        valid.then_some(Self {
            width,
            height,
            palette,
            pixels,
        })
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The picture as `data:image/png;base64,…`.
    pub(crate) fn data_uri(&self) -> String {
        format!("data:image/png;base64,{}", base64(&self.encode()))
    }

    /// The picture as a PNG file (W3C PNG, third edition).
    fn encode(&self) -> Vec<u8> {
        let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut header = Vec::with_capacity(13);
        header.extend(self.width.to_be_bytes());
        header.extend(self.height.to_be_bytes());
        // Eight bits a pixel, with a palette; deflate, the usual filters, not interlaced.
        header.extend([8, 3, 0, 0, 0]);
        chunk(&mut file, *b"IHDR", &header);
        chunk(&mut file, *b"PLTE", self.palette.as_flattened());
        let mut rows = Vec::with_capacity(self.pixels.len() + self.pixels.len() / 8);
        for row in self.pixels.chunks(self.width as usize) {
            rows.push(0); // This row has no filter.
            rows.extend(row);
        }
        chunk(&mut file, *b"IDAT", &zlib_stored(&rows));
        chunk(&mut file, *b"IEND", &[]);
        file
    }
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let length = u32::try_from(data.len()).expect("a picture of the report is small");
    file.extend(length.to_be_bytes());
    let start = file.len();
    file.extend(kind);
    file.extend(data);
    let check = crc32(&file[start..]);
    file.extend(check.to_be_bytes());
}

/// A zlib stream (RFC 1950) of stored blocks.
fn zlib_stored(data: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x78, 0x01];
    let blocks = data.chunks(usize::from(u16::MAX));
    let last = blocks.len().saturating_sub(1);
    for (number, block) in blocks.enumerate() {
        let length = u16::try_from(block.len()).expect("a block is cut to fit");
        stream.push(u8::from(number == last));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend(block);
    }
    stream.extend(adler32(data).to_be_bytes());
    stream
}

fn crc32(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            let polynomial = if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
            crc = (crc >> 1) ^ polynomial;
        }
    }
    !crc
}

fn adler32(data: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    (b << 16) | a
}

fn base64(data: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for group in data.chunks(3) {
        let byte = |place: usize| u32::from(group.get(place).copied().unwrap_or(0));
        let bits = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for place in 0..4 {
            if place <= group.len() {
                let digit = (bits >> (18 - 6 * place)) & 63;
                text.push(char::from(ALPHABET[digit as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_have_known_values() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b"IEND"), 0xAE42_6082);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn base64_of_the_rfc() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn long_data_is_cut_into_blocks_of_which_the_last_says_so() {
        let data = vec![7; 70_000];
        let stream = zlib_stored(&data);
        assert_eq!(stream.len(), 2 + 5 + 65_535 + 5 + 4_465 + 4);
        assert_eq!(stream[2..7], [0, 0xFF, 0xFF, 0, 0]);
        assert_eq!(stream[2 + 5 + 65_535], 1);
    }

    #[test]
    fn a_picture_has_the_parts_of_a_png() {
        let picture = Picture::new(2, vec![[0; 3], [255; 3]], vec![0, 1, 1, 0]).unwrap();
        assert_eq!(picture.size(), (2, 2));
        let file = picture.encode();
        assert_eq!(file[12..16], *b"IHDR");
        assert_eq!(file[16..24], [0, 0, 0, 2, 0, 0, 0, 2]);
        // Two rows, each with its filter byte.
        assert!(file.windows(6).any(|part| part == [0, 0, 1, 0, 1, 0]));
        assert_eq!(file[file.len() - 4..], 0xAE42_6082_u32.to_be_bytes());
        assert!(
            picture
                .data_uri()
                .starts_with("data:image/png;base64,iVBORw0KGgo")
        );
    }

    #[test]
    fn impossible_pictures_are_refused() {
        let palette = vec![[0; 3]];
        assert_eq!(Picture::new(0, palette.clone(), vec![]), None);
        assert_eq!(Picture::new(2, palette.clone(), vec![]), None);
        assert_eq!(Picture::new(2, palette.clone(), vec![0; 3]), None);
        assert_eq!(Picture::new(2, palette, vec![0, 1]), None);
    }
}
