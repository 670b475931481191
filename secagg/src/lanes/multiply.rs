//! Multiples of points in lanes.
//!
//! Half of a scalar, which is what is multiplied by, is written as 2m + 1 with m below the order l:
//! then it is the sum of 16^i · d_i with the digit d_i = 2t_i − 15, where t_i is the i-th of the 64
//! digits of m + 2^255 to the base 16. All digits are odd, between −15 and 15: there is no zero to
//! treat in its own way, and no carry.

macro_rules! multiply {
    ($features:tt) => {
        /// The points of these pairs of an encoding and a scalar, multiplied and encoded.
        #[target_feature(enable = $features)]
        pub(crate) fn pairs(pairs: &[(&[u8; 32], &Scalar)]) -> Vec<Seed> {
            let mut seeds = Vec::with_capacity(pairs.len());
            for batch in pairs.chunks(LANES * AT_ONCE) {
                let mut halves = Zeroizing::new(Vec::with_capacity(AT_ONCE));
                for pairs in batch.chunks(LANES) {
                    let point = decompress(pairs.iter().map(|(point, _)| *point));
                    let digits = recode(pairs.iter().map(|(_, scalar)| *scalar));
                    let multiple = Zeroizing::new(multiple(&point, digits));
                    halves.push(Halved::new(&multiple));
                }
                let encodings = compress(&halves);
                let lanes = encodings.iter().zip(batch.chunks(LANES));
                lanes.for_each(|(words, pairs)| split(words, pairs.len(), &mut seeds));
            }
            seeds
        }

        /// For each of these pairs of an encoding and scalars the multiples of the point, encoded.
        #[target_feature(enable = $features)]
        pub(crate) fn jobs(jobs: &[(&[u8; 32], &[&Scalar])]) -> Vec<Vec<Seed>> {
            let mut seeds = Vec::with_capacity(jobs.len());
            for jobs in jobs.chunks(LANES) {
                if tables_pay(jobs.iter().map(|(_, scalars)| scalars.len()), LANES) {
                    by_tables(jobs, &mut seeds);
                } else {
                    let each = |(point, scalars): &(_, &[_])| {
                        let point = *point;
                        scalars
                            .iter()
                            .map(move |scalar| (point, *scalar))
                            .collect::<Vec<_>>()
                    };
                    let mut multiples =
                        pairs(&jobs.iter().flat_map(each).collect::<Vec<_>>()).into_iter();
                    let lens = jobs.iter().map(|(_, scalars)| scalars.len());
                    seeds.extend(lens.map(|len| multiples.by_ref().take(len).collect::<Vec<_>>()));
                }
            }
            seeds
        }

        /// At most as many jobs as there are lanes.
        #[target_feature(enable = $features)]
        fn by_tables(jobs: &[(&[u8; 32], &[&Scalar])], seeds: &mut Vec<Vec<Seed>>) {
            let points = decompress(jobs.iter().map(|(point, _)| *point));
            let tables = tables(&points, jobs.len());
            let first = seeds.len();
            seeds.extend(
                jobs.iter()
                    .map(|(_, scalars)| Vec::with_capacity(scalars.len())),
            );
            let groups = jobs.iter().enumerate().flat_map(|(job, (_, scalars))| {
                scalars.chunks(LANES).map(move |scalars| (job, scalars))
            });
            let groups: Vec<(usize, &[&Scalar])> = groups.collect();
            for groups in groups.chunks(AT_ONCE) {
                let mut halves = Zeroizing::new(Vec::with_capacity(AT_ONCE));
                for (job, scalars) in groups {
                    let digits = recode(scalars.iter().copied());
                    let multiple = Zeroizing::new(shared_multiple(&tables[*job], digits));
                    halves.push(Halved::new(&multiple));
                }
                let encodings = compress(&halves);
                for (words, (job, scalars)) in encodings.iter().zip(groups) {
                    split(words, scalars.len(), &mut seeds[first + job]);
                }
            }
        }

        /// Of each lane its point; what is left of the lanes takes the last.
        #[target_feature(enable = $features)]
        fn decompress<'a>(mut encodings: impl Iterator<Item = &'a [u8; 32]>) -> Extended {
            let mut lanes = [[0; LANES]; 4];
            let mut last = &[0; 32];
            for lane in 0..LANES {
                last = encodings.next().unwrap_or(last);
                for (word, bytes) in lanes.iter_mut().zip(last.as_chunks().0) {
                    word[lane] = u64::from_le_bytes(*bytes);
                }
            }
            Extended::decompressed(lanes.map(|lanes| from_words(lanes)))
        }

        /// The digits t_i of each lane's scalar, the first in the lowest bits of the first word.
        #[target_feature(enable = $features)]
        fn recode<'a>(scalars: impl Iterator<Item = &'a Scalar>) -> Zeroizing<[Vector; 4]> {
            let mut lanes = Zeroizing::new([[0; LANES]; 4]);
            for (lane, scalar) in scalars.enumerate() {
                for (word, digits) in lanes.iter_mut().zip(*digits(scalar)) {
                    word[lane] = digits;
                }
            }
            Zeroizing::new(lanes.map(|lanes| from_words(lanes)))
        }

        /// What a digit t says: which odd multiple, from 0 for ±1 to 7 for ±15, and whether its
        /// negative.
        #[inline]
        #[target_feature(enable = $features)]
        fn place_and_sign(t: Vector) -> (Vector, Mask) {
            let negative = equal(and(t, splat(8)), splat(0));
            let place = select(negative, subtract(splat(7), t), subtract(t, splat(8)));
            (place, negative)
        }

        /// In each lane the multiple of its point, by a signed window of four bits.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn multiple(point: &Extended, mut digits: Zeroizing<[Vector; 4]>) -> Extended {
            let table = Table::new(point);
            let mut sum = Completed::identity();
            for word in digits.iter_mut().rev() {
                for _ in 0..16 {
                    for _ in 0..3 {
                        sum = sum.projective().doubled();
                    }
                    sum = sum.projective().doubled();
                    sum = sum.extended().plus(&table.select(shift_right::<60>(*word)));
                    *word = shift_left::<4>(*word);
                }
            }
            sum.extended()
        }

        /// The odd multiples of a point from 1 to 15, two limbs to a lane.
        struct Table(Box<[[[Vector; 5]; 4]; 8]>);

        impl Drop for Table {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }

        impl Table {
            #[target_feature(enable = $features)]
            fn new(point: &Extended) -> Self {
                let mut table = Self(Box::new([[[splat(0); 5]; 4]; 8]));
                for (entry, multiple) in table.0.iter_mut().zip(&odd_multiples(point)) {
                    *entry = multiple.packed();
                }
                table
            }

            /// The multiple that a digit names, read from all of them.
            #[inline]
            #[target_feature(enable = $features)]
            fn select(&self, t: Vector) -> Cached {
                let (place, negative) = place_and_sign(t);
                let [first, others @ ..] = &*self.0;
                let mut selected = *first;
                for (entry, j) in others.iter().zip(1..) {
                    let found = equal(place, splat(j));
                    for (selected, entry) in selected.iter_mut().zip(entry) {
                        for i in 0..5 {
                            selected[i] = select(found, entry[i], selected[i]);
                        }
                    }
                }
                Cached::unpacked(&selected).negated_where(negative)
            }
        }

        #[target_feature(enable = $features)]
        fn odd_multiples(point: &Extended) -> [Cached; 8] {
            let twice = point.doubled().extended().cached();
            let mut multiples = [point.cached(); 8];
            let mut multiple = *point;
            for entry in &mut multiples[1..] {
                multiple = multiple.plus(&twice).extended();
                *entry = multiple.cached();
            }
            multiples
        }

        /// The odd multiples from 1 to 15 of 256^i · P, in row i: of each limb of each coordinate
        /// all eight in one register.
        type SharedTable = [[[Row; 10]; 4]; 32];

        /// The tables of the points in the first lanes. They are multiples of public keys: no secret.
        #[target_feature(enable = $features)]
        fn tables(points: &Extended, count: usize) -> Vec<SharedTable> {
            let empty = [[[row([0; 8]); 10]; 4]; 32];
            let mut tables = vec![empty; count];
            let mut base = *points;
            for i in 0..32 {
                let multiples = odd_multiples(&base);
                let coordinates = multiples.each_ref().map(Cached::coordinates);
                for coordinate in 0..4 {
                    for limb in 0..10 {
                        let mut words = [[0; LANES]; 8];
                        for (words, multiple) in words.iter_mut().zip(&coordinates) {
                            *words = to_words(multiple[coordinate].0[limb]);
                        }
                        for (lane, table) in tables.iter_mut().enumerate() {
                            let entries = words.each_ref().map(|words| low(words[lane]));
                            table[i][coordinate][limb] = row(entries);
                        }
                    }
                }
                let mut next = base.doubled();
                for _ in 1..8 {
                    next = next.projective().doubled();
                }
                base = next.extended();
            }
            tables
        }

        /// In each lane another multiple of one point: the digits of odd places first, times 16,
        /// then those of even places.
        #[inline(never)]
        #[target_feature(enable = $features)]
        fn shared_multiple(table: &SharedTable, digits: Zeroizing<[Vector; 4]>) -> Extended {
            let mut sum = Completed::identity();
            let mut odd = Zeroizing::new(digits.map(|word| shift_right::<4>(word)));
            for (rows, word) in table.as_chunks::<8>().0.iter().zip(odd.iter_mut()) {
                for row in rows {
                    sum = sum.extended().plus(&look_up(row, *word));
                    *word = shift_right::<8>(*word);
                }
            }
            for _ in 0..4 {
                sum = sum.projective().doubled();
            }
            let mut even = digits;
            for (rows, word) in table.as_chunks::<8>().0.iter().zip(even.iter_mut()) {
                for row in rows {
                    sum = sum.extended().plus(&look_up(row, *word));
                    *word = shift_right::<8>(*word);
                }
            }
            sum.extended()
        }

        /// The multiples that the lowest digits name: they are moved within registers, which takes
        /// the same time for all.
        #[inline]
        #[target_feature(enable = $features)]
        fn look_up(row: &[[Row; 10]; 4], digits: Vector) -> Cached {
            let (place, negative) = place_and_sign(and(digits, splat(15)));
            let [sum, difference, z_2, td_2] = row;
            Cached {
                sum: Element(each_limb!(i => permute(sum[i], place))),
                difference: Element(each_limb!(i => permute(difference[i], place))),
                z_2: Element(each_limb!(i => permute(z_2[i], place))),
                td_2: Element(each_limb!(i => permute(td_2[i], place))),
            }
            .negated_where(negative)
        }

        impl Cached {
            fn coordinates(&self) -> [&Element; 4] {
                [&self.sum, &self.difference, &self.z_2, &self.td_2]
            }

            /// Limb i + 5 above limb i: both are below 2^32.
            #[inline]
            #[target_feature(enable = $features)]
            fn packed(&self) -> [[Vector; 5]; 4] {
                let Self { sum, difference, z_2, td_2 } = self;
                [sum.packed(), difference.packed(), z_2.packed(), td_2.packed()]
            }

            /// What was packed: in the upper bits of the lower limbs something is left.
            #[inline]
            #[target_feature(enable = $features)]
            fn unpacked(packed: &[[Vector; 5]; 4]) -> Self {
                let [sum, difference, z_2, td_2] = packed;
                Self {
                    sum: Element::unpacked(sum),
                    difference: Element::unpacked(difference),
                    z_2: Element::unpacked(z_2),
                    td_2: Element::unpacked(td_2),
                }
            }
        }

        impl Element {
            #[inline]
            #[target_feature(enable = $features)]
            fn packed(&self) -> [Vector; 5] {
                let [a, b, c, d, e, f, g, h, i, j] = self.0;
                let pair = |low, high| or(low, shift_left::<32>(high));
                [pair(a, f), pair(b, g), pair(c, h), pair(d, i), pair(e, j)]
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn unpacked(packed: &[Vector; 5]) -> Self {
                let [a, b, c, d, e] = *packed;
                let high = |pair| shift_right::<32>(pair);
                Self([a, b, c, d, e, high(a), high(b), high(c), high(d), high(e)])
            }
        }

        /// The words of the encodings of twice these points, with one inversion for all
        /// (P. Montgomery).
        #[target_feature(enable = $features)]
        fn compress(halves: &[Halved]) -> Zeroizing<Vec<[Vector; 4]>> {
            let mut product = Zeroizing::new(Element::splat(&ONE));
            let mut before = Zeroizing::new(Vec::with_capacity(halves.len()));
            for half in halves {
                before.push(*product);
                *product = product.times(&half.denominator().0);
            }
            let mut inverse = Zeroizing::new(product.inverted());
            let mut encodings = Zeroizing::new(vec![[splat(0); 4]; halves.len()]);
            let places = encodings.iter_mut().zip(halves.iter().zip(&*before));
            for (words, (half, before)) in places.rev() {
                let (denominator, zero) = half.denominator();
                let own = inverse.times(before);
                let own = Zeroizing::new(Element::select(zero, &Element::splat(&ZERO), &own));
                *inverse = inverse.times(&denominator);
                *words = half.compressed(&own);
            }
            encodings
        }

        /// Appends the seeds of the first lanes.
        #[target_feature(enable = $features)]
        fn split(words: &[Vector; 4], count: usize, seeds: &mut Vec<Seed>) {
            let words = Zeroizing::new(words.map(|word| to_words(word)));
            let [a, b, c, d] = &*words;
            seeds.extend((0..count).map(|lane| seed([a[lane], b[lane], c[lane], d[lane]])));
        }

        impl Zeroize for Halved {
            fn zeroize(&mut self) {
                let Self { e, f, g, h, eg, fh } = self;
                for element in [e, f, g, h, eg, fh] {
                    element.zeroize();
                }
            }
        }

        impl Zeroize for Extended {
            fn zeroize(&mut self) {
                let Self { x, y, z, t } = self;
                for element in [x, y, z, t] {
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
