//! GF(2^255 − 19) in lanes, in radix 2^25.5: limb i counts 2^⌈25.5 i⌉, and products of limbs are
//! those of `vpmuludq`, of 32 by 32 bits.
//!
//! Limbs are never negative. An element is *tight* if its even limbs are below 2^26 + 2^18 and its
//! odd ones below 2^25 + 2^18; it is *within w* if they are below w times that. What multiplies
//! returns tight elements; sums and differences are not reduced: their bounds stand beside them.
//!
//! Products are taken of f and g where 19 times a limb of g, and twice an odd limb of f, stay below
//! 2^32: for g within 3.3, for f within 63. The sum for a limb has a term f_i·g_j for each i. At
//! worst, in limb 0, nine of ten are taken 19 times, five of them, with odd i and j, twice as well,
//! where limbs have one bit less: within w_f and w_g it is below
//! (1 + 19 · (4 + 5/2)) · 2^52 · 1.02 · w_f · w_g < 2^59.02 · w_f · w_g. With w_f · w_g ≤ 28 that
//! leaves room for the carries in 64 bits.

/// An array with an entry for each limb.
macro_rules! each_limb {
    ($i:ident => $value:expr) => {
        each_limb!($i => $value; 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)
    };
    ($i:ident => $value:expr; $($limb:literal),*) => {
        [$({
            let $i = $limb;
            $value
        }),*]
    };
}

macro_rules! field {
    ($features:tt) => {
        /// A field element in each lane.
        #[derive(Clone, Copy)]
        pub(super) struct Element(pub(super) [Vector; 10]);

        impl Element {
            /// The same element in all lanes.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn splat(limbs: &Limbs) -> Self {
                Self(each_limb!(i => splat(limbs[i])))
            }

            /// The element of each lane from four little-endian words, of which bit 255 is ignored.
            /// The result is tight.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn from_words([a, b, c, d]: [Vector; 4]) -> Self {
                let (even, odd) = (splat(EVEN), splat(ODD));
                Self([
                    and(a, even),
                    and(shift_right::<26>(a), odd),
                    and(or(shift_right::<51>(a), shift_left::<13>(b)), even),
                    and(shift_right::<13>(b), odd),
                    shift_right::<38>(b),
                    and(c, odd),
                    and(shift_right::<25>(c), even),
                    and(or(shift_right::<51>(c), shift_left::<13>(d)), odd),
                    and(shift_right::<12>(d), even),
                    and(shift_right::<38>(d), odd),
                ])
            }

            /// The little-endian words of the canonical encoding. `self` must be tight.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn words(&self) -> [Vector; 4] {
                let [a, b, c, d, e, f, g, h, i, j] = self.canonical().0;
                [
                    or(or(a, shift_left::<26>(b)), shift_left::<51>(c)),
                    or(
                        or(shift_right::<13>(c), shift_left::<13>(d)),
                        shift_left::<38>(e),
                    ),
                    or(or(f, shift_left::<25>(g)), shift_left::<51>(h)),
                    or(
                        or(shift_right::<13>(h), shift_left::<12>(i)),
                        shift_left::<38>(j),
                    ),
                ]
            }

            /// Below p, for a tight element, which is below 2p.
            #[inline]
            #[target_feature(enable = $features)]
            fn canonical(&self) -> Self {
                let (even, odd) = (splat(EVEN), splat(ODD));
                let mut h = self.0;
                // Whether h + 19 reaches 2^255, which is whether h reaches p.
                let mut carry = splat(19);
                for i in (0..10).step_by(2) {
                    carry = shift_right::<26>(add(h[i], carry));
                    carry = shift_right::<25>(add(h[i + 1], carry));
                }
                // Then 19 is added and 2^255 dropped.
                carry = multiply(carry, splat(19));
                for i in (0..10).step_by(2) {
                    let sum = add(h[i], carry);
                    h[i] = and(sum, even);
                    let sum = add(h[i + 1], shift_right::<26>(sum));
                    h[i + 1] = and(sum, odd);
                    carry = shift_right::<25>(sum);
                }
                Self(h)
            }

            /// Whether the canonical encoding is odd (RFC 9496, section 3.1). For tight elements.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn is_negative(&self) -> Mask {
                equal(and(self.canonical().0[0], splat(1)), splat(1))
            }

            /// For tight elements.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn is_zero(&self) -> Mask {
                let limbs = self.canonical().0;
                let mut any = limbs[0];
                for limb in &limbs[1..] {
                    any = or(any, *limb);
                }
                equal(any, splat(0))
            }

            /// Lane by lane.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn select(mask: Mask, then: &Self, otherwise: &Self) -> Self {
                Self(each_limb!(i => select(mask, then.0[i], otherwise.0[i])))
            }

            /// Within the sum of both bounds.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn plus(&self, other: &Self) -> Self {
                Self(each_limb!(i => add(self.0[i], other.0[i])))
            }

            /// `self` + 2p − `other`, for a tight `other`: 2 more than the bound of `self`.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn minus(&self, other: &Self) -> Self {
                self.minus_from(&P_2, other)
            }

            /// `self` + 4p − `other`, for an `other` within 3.9: 4 more than the bound of `self`.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn minus_wide(&self, other: &Self) -> Self {
                self.minus_from(&P_4, other)
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn minus_from(&self, multiple: &Limbs, other: &Self) -> Self {
                Self(each_limb!(i => {
                    subtract(add(self.0[i], splat(multiple[i])), other.0[i])
                }))
            }

            /// Tight, for an element within 63: carries are below 2^6, and 19 times that below 2^18.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn carried(&self) -> Self {
                let (even, odd) = (splat(EVEN), splat(ODD));
                let h = &self.0;
                let over = multiply(shift_right::<25>(h[9]), splat(19));
                Self([
                    add(and(h[0], even), over),
                    add(and(h[1], odd), shift_right::<26>(h[0])),
                    add(and(h[2], even), shift_right::<25>(h[1])),
                    add(and(h[3], odd), shift_right::<26>(h[2])),
                    add(and(h[4], even), shift_right::<25>(h[3])),
                    add(and(h[5], odd), shift_right::<26>(h[4])),
                    add(and(h[6], even), shift_right::<25>(h[5])),
                    add(and(h[7], odd), shift_right::<26>(h[6])),
                    add(and(h[8], even), shift_right::<25>(h[7])),
                    add(and(h[9], odd), shift_right::<26>(h[8])),
                ])
            }

            /// The negative, for an element within 3.9. Tight.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn negated(&self) -> Self {
                Self::splat(&ZERO).minus_wide(self).carried()
            }

            /// The one of both signs that is not negative, for a tight element. Tight.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn absolute(&self) -> Self {
                Self::select(self.is_negative(), &self.negated(), self)
            }

            /// The product, for `self` (f) and `other` (g) within what stands above. Of limbs only
            /// the lower 32 bits are read. Tight.
            #[inline(never)]
            #[target_feature(enable = $features)]
            pub(super) fn times(&self, other: &Self) -> Self {
                let f = &self.0;
                // Odd limbs meet odd ones in even columns, where one bit is missing.
                let mut doubled = *f;
                for i in (1..10).step_by(2) {
                    doubled[i] = add(f[i], f[i]);
                }
                // Below limb 0: what wraps around.
                let mut g = [splat(0); 20];
                for i in 0..10 {
                    g[10 + i] = other.0[i];
                }
                for i in 1..10 {
                    g[i] = multiply(other.0[i], splat(19));
                }
                Self::reduced([
                    Self::column::<0>(&doubled, &g),
                    Self::column::<1>(f, &g),
                    Self::column::<2>(&doubled, &g),
                    Self::column::<3>(f, &g),
                    Self::column::<4>(&doubled, &g),
                    Self::column::<5>(f, &g),
                    Self::column::<6>(&doubled, &g),
                    Self::column::<7>(f, &g),
                    Self::column::<8>(&doubled, &g),
                    Self::column::<9>(f, &g),
                ])
            }

            /// The sum of f_i · g_j with i + j = K modulo 10.
            #[inline]
            #[target_feature(enable = $features)]
            fn column<const K: usize>(f: &[Vector; 10], g: &[Vector; 20]) -> Vector {
                let mut sum = multiply(f[0], g[10 + K]);
                for i in 1..10 {
                    sum = add(sum, multiply(f[i], g[10 + K - i]));
                }
                sum
            }

            /// The square of an element within 3.3. Tight.
            #[inline(never)]
            #[target_feature(enable = $features)]
            pub(super) fn squared(&self) -> Self {
                let f = &self.0;
                let mut doubled = *f;
                for i in 0..10 {
                    doubled[i] = add(f[i], f[i]);
                }
                let mut wrapped = *f;
                for i in 5..10 {
                    wrapped[i] = multiply(f[i], splat(19));
                }
                // 38 times an odd limb is no more than 19 times an even one.
                let mut wrapped_doubled = doubled;
                for i in [7, 9] {
                    wrapped_doubled[i] = add(wrapped[i], wrapped[i]);
                }
                let forms = Forms {
                    f,
                    doubled: &doubled,
                    wrapped: &wrapped,
                    wrapped_doubled: &wrapped_doubled,
                };
                Self::reduced([
                    forms.column::<0>(),
                    forms.column::<1>(),
                    forms.column::<2>(),
                    forms.column::<3>(),
                    forms.column::<4>(),
                    forms.column::<5>(),
                    forms.column::<6>(),
                    forms.column::<7>(),
                    forms.column::<8>(),
                    forms.column::<9>(),
                ])
            }

            /// Squared so many times; tight.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn squared_times(&self, times: u32) -> Self {
                let mut power = *self;
                for _ in 0..times {
                    power = power.squared();
                }
                power
            }

            /// Tight from limbs below 2^63.9, in two chains of carries at once.
            ///
            /// Limb 4 is carried into twice: its second carry is below 2^14. So is limb 0, whose
            /// second is below 2^18: limb 9 carries less than 2^39, and 19 times that is below 2^44.
            #[inline]
            #[target_feature(enable = $features)]
            fn reduced(mut h: [Vector; 10]) -> Self {
                let (even, odd) = (splat(EVEN), splat(ODD));
                for i in [0, 2] {
                    h[i + 1] = add(h[i + 1], shift_right::<26>(h[i]));
                    h[i + 5] = add(h[i + 5], shift_right::<26>(h[i + 4]));
                    h[i] = and(h[i], even);
                    h[i + 4] = and(h[i + 4], even);
                    h[i + 2] = add(h[i + 2], shift_right::<25>(h[i + 1]));
                    h[i + 6] = add(h[i + 6], shift_right::<25>(h[i + 5]));
                    h[i + 1] = and(h[i + 1], odd);
                    h[i + 5] = and(h[i + 5], odd);
                }
                h[5] = add(h[5], shift_right::<26>(h[4]));
                h[9] = add(h[9], shift_right::<26>(h[8]));
                h[4] = and(h[4], even);
                h[8] = and(h[8], even);
                let over = shift_right::<25>(h[9]);
                h[9] = and(h[9], odd);
                // 19 = 1 + 2 + 16: a product would read 32 bits only.
                let over = add(add(over, shift_left::<1>(over)), shift_left::<4>(over));
                h[0] = add(h[0], over);
                h[1] = add(h[1], shift_right::<26>(h[0]));
                h[0] = and(h[0], even);
                Self(h)
            }

            /// To the powers 2^250 − 1 and 11. For tight elements.
            #[inline]
            #[target_feature(enable = $features)]
            fn towers(&self) -> (Self, Self) {
                let two = self.squared();
                let nine = two.squared_times(2).times(self);
                let eleven = nine.times(&two);
                let ones_5 = eleven.squared().times(&nine);
                let ones_10 = ones_5.squared_times(5).times(&ones_5);
                let ones_20 = ones_10.squared_times(10).times(&ones_10);
                let ones_40 = ones_20.squared_times(20).times(&ones_20);
                let ones_50 = ones_40.squared_times(10).times(&ones_10);
                let ones_100 = ones_50.squared_times(50).times(&ones_50);
                let ones_200 = ones_100.squared_times(100).times(&ones_100);
                let ones_250 = ones_200.squared_times(50).times(&ones_50);
                (ones_250, eleven)
            }

            /// The inverse of a tight element, to the power p − 2; 0 for 0.
            #[target_feature(enable = $features)]
            pub(super) fn inverted(&self) -> Self {
                let (ones_250, eleven) = self.towers();
                ones_250.squared_times(5).times(&eleven)
            }

            /// A square root of the inverse of a tight element that is a square (RFC 9496,
            /// section 4.2, with u = 1; of both signs any).
            #[target_feature(enable = $features)]
            pub(super) fn inverse_root(&self) -> Self {
                let cube = self.squared().times(self);
                let seventh = cube.squared().times(self);
                let (ones_250, _) = seventh.towers();
                // (p − 5)/8 is 2^252 − 3.
                let root = ones_250.squared_times(2).times(&seventh).times(&cube);
                let check = root.squared().times(self);
                let correct = check.minus(&Self::splat(&ONE)).carried().is_zero();
                Self::select(correct, &root, &root.times(&Self::splat(&SQRT_M1)))
            }
        }

        /// The limbs of an element that is squared: as they are, twice, 19 times and 38 times.
        struct Forms<'a> {
            f: &'a [Vector; 10],
            doubled: &'a [Vector; 10],
            wrapped: &'a [Vector; 10],
            wrapped_doubled: &'a [Vector; 10],
        }

        impl Forms<'_> {
            /// The sum of f_i · f_j with i + j = K modulo 10; of two terms that are the same one,
            /// twice.
            #[inline]
            #[target_feature(enable = $features)]
            fn column<const K: usize>(&self) -> Vector {
                let mut sum = splat(0);
                for i in 0..10 {
                    let j = (10 + K - i) % 10;
                    if i > j {
                        continue;
                    }
                    let both_odd = i % 2 == 1 && j % 2 == 1;
                    let a = if i == j && !both_odd {
                        self.f[i]
                    } else {
                        self.doubled[i]
                    };
                    let b = match (i + j >= 10, both_odd && i != j) {
                        (false, false) => self.f[j],
                        (false, true) => self.doubled[j],
                        (true, false) => self.wrapped[j],
                        (true, true) => self.wrapped_doubled[j],
                    };
                    sum = add(sum, multiply(a, b));
                }
                sum
            }
        }
    };
}

pub(super) use {each_limb, field};
