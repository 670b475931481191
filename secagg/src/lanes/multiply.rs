//! Multiples of points in lanes.

macro_rules! multiply {
    ($features:tt) => {
        /// The points of these pairs of an encoding and a scalar, multiplied and encoded.
        #[target_feature(enable = $features)]
        pub(crate) fn pairs(pairs: &[(&[u8; 32], &Scalar)]) -> Vec<Seed> {
            let mut halves = Zeroizing::new(Vec::with_capacity(pairs.len().div_ceil(LANES)));
            let mut digits = Zeroizing::new([splat(0); PLACES]);
            for pairs in pairs.chunks(LANES) {
                let point = decompress(pairs.iter().map(|(point, _)| *point));
                recode(pairs.iter().map(|(_, scalar)| *scalar), &mut digits);
                halves.push(Halved::new(&multiple(&point, &digits)));
            }
            compress(&halves, pairs.len())
        }

        /// Of each lane its point; what is left of the lanes takes the last.
        #[target_feature(enable = $features)]
        fn decompress<'a>(encodings: impl Iterator<Item = &'a [u8; 32]>) -> Extended {
            let mut lanes = [[0; LANES]; 4];
            let mut last = &[0; 32];
            let mut encodings = encodings;
            for lane in 0..LANES {
                last = encodings.next().unwrap_or(last);
                for (word, bytes) in lanes.iter_mut().zip(last.as_chunks().0) {
                    word[lane] = u64::from_le_bytes(*bytes);
                }
            }
            let [a, b, c, d] = lanes;
            Extended::decompressed([from_words(a), from_words(b), from_words(c), from_words(d)])
        }

        /// The digits of half of each lane's scalar, as in [`digit`]; zero in what is left of the
        /// lanes.
        #[target_feature(enable = $features)]
        fn recode<'a>(scalars: impl Iterator<Item = &'a Scalar>, digits: &mut [Vector; PLACES]) {
            let mut lanes = Zeroizing::new([[0; LANES]; PLACES]);
            for (lane, scalar) in scalars.enumerate() {
                let halved = Zeroizing::new(scalar.div_by_2());
                let signed = Zeroizing::new(agreement::digits(&halved));
                for (place, signed) in lanes.iter_mut().zip(*signed) {
                    place[lane] = digit(signed);
                }
            }
            for (to, place) in digits.iter_mut().zip(*lanes) {
                *to = from_words(place);
            }
        }

        /// In each lane the multiple of its point, by a signed window of four bits.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn multiple(point: &Extended, digits: &[Vector; PLACES]) -> Extended {
            let table = Table::new(point);
            let (last, others) = digits.split_last().expect("there are 64 digits");
            let identity = Projective::identity().with(Element::splat(&ZERO));
            let mut sum = identity.plus(&table.select(*last));
            for digit in others.iter().rev() {
                for _ in 0..3 {
                    sum = sum.projective().doubled();
                }
                sum = sum.projective().doubled();
                sum = sum.extended().plus(&table.select(*digit));
            }
            sum.extended()
        }

        /// The multiples of a point from 1 to 8, two limbs to a lane.
        struct Table(Box<[[[Vector; 5]; 4]; 8]>);

        impl Drop for Table {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl Table {
            #[target_feature(enable = $features)]
            fn new(point: &Extended) -> Self {
                let first = point.cached();
                let mut table = Self(Box::new([[[splat(0); 5]; 4]; 8]));
                let mut multiple = *point;
                for (place, entry) in table.0.iter_mut().enumerate() {
                    if place > 0 {
                        multiple = multiple.plus(&first).extended();
                    }
                    *entry = multiple.cached().packed();
                }
                table
            }

            /// The multiple that a digit names, read from all of them.
            #[inline]
            #[target_feature(enable = $features)]
            fn select(&self, digit: Vector) -> Cached {
                let magnitude = and(digit, splat(MAGNITUDE));
                let mut selected = Cached::identity().packed();
                for (entry, j) in self.0.iter().zip(1..) {
                    let found = equal(magnitude, splat(j));
                    for (selected, entry) in selected.iter_mut().zip(entry) {
                        for i in 0..5 {
                            selected[i] = select(found, entry[i], selected[i]);
                        }
                    }
                }
                let negative = equal(and(digit, splat(NEGATIVE)), splat(NEGATIVE));
                Cached::unpacked(&selected).negated_where(negative)
            }
        }

        impl Cached {
            #[inline]
            #[target_feature(enable = $features)]
            fn identity() -> Self {
                let one = Element::splat(&ONE);
                Self {
                    sum: one,
                    difference: one,
                    z_2: Element::splat(&TWO),
                    td_2: Element::splat(&ZERO),
                }
            }

            /// Limb i + 5 above limb i: both are below 2^32.
            #[inline]
            #[target_feature(enable = $features)]
            fn packed(&self) -> [[Vector; 5]; 4] {
                let mut packed = [[splat(0); 5]; 4];
                let elements = [&self.sum, &self.difference, &self.z_2, &self.td_2];
                for (packed, element) in packed.iter_mut().zip(elements) {
                    for i in 0..5 {
                        packed[i] = or(element.0[i], shift_left::<32>(element.0[i + 5]));
                    }
                }
                packed
            }

            /// What was packed: in the upper bits of the lower limbs something is left.
            #[inline]
            #[target_feature(enable = $features)]
            fn unpacked(packed: &[[Vector; 5]; 4]) -> Self {
                let mut elements = [Element::splat(&ZERO); 4];
                for (element, packed) in elements.iter_mut().zip(packed) {
                    for i in 0..5 {
                        element.0[i] = packed[i];
                        element.0[i + 5] = shift_right::<32>(packed[i]);
                    }
                }
                let [sum, difference, z_2, td_2] = elements;
                Self {
                    sum,
                    difference,
                    z_2,
                    td_2,
                }
            }
        }

        /// Encodes twice these points, of which the first `count` lanes are asked for, with one
        /// inversion for all (P. Montgomery).
        #[target_feature(enable = $features)]
        fn compress(halves: &[Halved], count: usize) -> Vec<Seed> {
            let mut product = Element::splat(&ONE);
            let mut before = Zeroizing::new(Vec::with_capacity(halves.len()));
            for half in halves {
                before.push(product);
                product = product.times(&half.denominator().0);
            }
            let mut inverse = product.inverted();
            let mut encodings = Zeroizing::new(Vec::with_capacity(halves.len()));
            for (half, before) in halves.iter().zip(&*before).rev() {
                let (denominator, zero) = half.denominator();
                let own = inverse.times(before);
                let own = Element::select(zero, &Element::splat(&ZERO), &own);
                inverse = inverse.times(&denominator);
                encodings.push(half.compressed(&own));
            }
            let mut seeds = Vec::with_capacity(count);
            for words in encodings.iter().rev() {
                let lanes = Zeroizing::new(words.map(|word| to_words(word)));
                let [a, b, c, d] = &*lanes;
                for lane in 0..LANES.min(count - seeds.len()) {
                    let words = [a[lane], b[lane], c[lane], d[lane]];
                    seeds.push(seed(words));
                }
            }
            seeds
        }

        impl Zeroize for Halved {
            fn zeroize(&mut self) {
                let Self { e, f, g, h, eg, fh } = self;
                for element in [e, f, g, h, eg, fh] {
                    element.zeroize();
                }
            }
        }

        impl Zeroize for Element {
            fn zeroize(&mut self) {
                self.0.zeroize();
            }
        }
    };
}

pub(super) use multiply;
