//! Points of edwards25519 in lanes, in extended coordinates: x = X/Z, y = Y/Z, xy = T/Z (Hisil,
//! Wong, Carter, Dawson, "Twisted Edwards Curves Revisited", 2008, section 3, with a = −1). The
//! formulas hold for all points: they are complete.
//!
//! A ristretto255 element is a class of such points. Encodings are those of RFC 9496.

macro_rules! point {
    ($features:tt) => {
        /// Coordinates are tight.
        #[derive(Clone, Copy)]
        pub(super) struct Projective {
            x: Element,
            y: Element,
            z: Element,
        }

        /// Coordinates are tight.
        #[derive(Clone, Copy)]
        pub(super) struct Extended {
            x: Element,
            y: Element,
            z: Element,
            t: Element,
        }

        /// A point before its last products: X = EF, Y = GH, Z = FG, T = EH. E is within 5, F and G
        /// within 3, H within 2.
        pub(super) struct Completed {
            e: Element,
            f: Element,
            g: Element,
            h: Element,
        }

        /// What is added to another point: Y + X, Y − X and 2Z, each within 3, and 2dT, tight or, negated,
        /// within 2.
        ///
        /// Of limbs only the lower 32 bits count.
        #[derive(Clone, Copy)]
        pub(super) struct Cached {
            pub(super) sum: Element,
            pub(super) difference: Element,
            pub(super) z_2: Element,
            pub(super) td_2: Element,
        }

        impl Projective {
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn doubled(&self) -> Completed {
                Completed::twice(&self.x, &self.y, &self.z)
            }
        }

        impl Completed {
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn identity() -> Self {
                let one = Element::splat(&ONE);
                Self {
                    e: Element::splat(&ZERO),
                    f: one,
                    g: one,
                    h: one,
                }
            }

            /// Section 3.3, all four of E to H negated.
            #[inline]
            #[target_feature(enable = $features)]
            fn twice(x: &Element, y: &Element, z: &Element) -> Self {
                let xx = x.squared();
                let yy = y.squared();
                let zz = z.squared();
                let h = yy.plus(&xx);
                let g = yy.minus(&xx);
                let e = x.plus(y).squared().minus_wide(&h);
                let f = zz.plus(&zz).minus_wide(&g).carried();
                Self { e, f, g, h }
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn projective(&self) -> Projective {
                Projective {
                    x: self.e.times(&self.f),
                    y: self.g.times(&self.h),
                    z: self.g.times(&self.f),
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn extended(&self) -> Extended {
                Extended {
                    x: self.e.times(&self.f),
                    y: self.g.times(&self.h),
                    z: self.g.times(&self.f),
                    t: self.e.times(&self.h),
                }
            }
        }

        impl Extended {
            /// Of each lane the element with this canonical encoding, from its four words; something
            /// else where there is none (RFC 9496, section 4.3.1, without the checks).
            #[target_feature(enable = $features)]
            pub(super) fn decompressed(words: [Vector; 4]) -> Self {
                let one = Element::splat(&ONE);
                let s = Element::from_words(words);
                let ss = s.squared();
                let u1 = one.minus(&ss);
                let u2 = one.plus(&ss);
                let u2_squared = u2.squared();
                let du1 = u1.squared().times(&Element::splat(&D));
                let v = du1.plus(&u2_squared).negated();
                let root = v.times(&u2_squared).inverse_root();
                let x_denominator = root.times(&u2);
                let y_denominator = root.times(&x_denominator).times(&v);
                let x = s.plus(&s).times(&x_denominator).absolute();
                let y = u1.times(&y_denominator);
                Self {
                    x,
                    y,
                    z: one,
                    t: x.times(&y),
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn doubled(&self) -> Completed {
                Completed::twice(&self.x, &self.y, &self.z)
            }

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn cached(&self) -> Cached {
                let Self { x, y, z, t } = self;
                Cached {
                    sum: y.plus(x),
                    difference: y.minus(x),
                    z_2: z.plus(z),
                    td_2: t.times(&Element::splat(&D_2)),
                }
            }

            /// Section 3.1, with k = 2d and Z doubled.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn plus(&self, other: &Cached) -> Completed {
                let Self { x, y, z, t } = self;
                let a = y.minus(x).times(&other.difference);
                let b = y.plus(x).times(&other.sum);
                let c = t.times(&other.td_2);
                let d = z.times(&other.z_2);
                Completed {
                    e: b.minus(&a),
                    f: d.minus(&c),
                    g: d.plus(&c),
                    h: b.plus(&a),
                }
            }
        }

        impl Cached {
            /// The negative in the lanes of the mask.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn negated_where(&self, mask: Mask) -> Self {
                let negative = Element::splat(&ZERO).minus(&self.td_2);
                Self {
                    sum: Element::select(mask, &self.difference, &self.sum),
                    difference: Element::select(mask, &self.sum, &self.difference),
                    z_2: self.z_2,
                    td_2: Element::select(mask, &negative, &self.td_2),
                }
            }
        }

        /// A point that is about to be encoded doubled: E = 2XY, F = Z² + dT², G = Y² + X² and
        /// H = Z² − dT², of which F, G within 2 and H within 3, and the products EG and FH.
        #[derive(Clone, Copy)]
        pub(super) struct Halved {
            e: Element,
            f: Element,
            g: Element,
            h: Element,
            eg: Element,
            fh: Element,
        }

        impl Halved {
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn new(point: &Extended) -> Self {
                let Extended { x, y, z, t } = point;
                let xx = x.squared();
                let yy = y.squared();
                let zz = z.squared();
                let dtt = t.squared().times(&Element::splat(&D));
                let e = y.plus(y).times(x);
                let f = zz.plus(&dtt);
                let g = yy.plus(&xx);
                let h = zz.minus(&dtt);
                Self {
                    e,
                    f,
                    g,
                    h,
                    eg: e.times(&g),
                    fh: h.times(&f),
                }
            }

            /// What must be inverted: EFGH, or 1 for the identity, where that is 0; and where it is.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn denominator(&self) -> (Element, Mask) {
                let denominator = self.eg.times(&self.fh);
                let zero = denominator.is_zero();
                let one = Element::splat(&ONE);
                (Element::select(zero, &one, &denominator), zero)
            }

            /// The words of the encoding of twice the point, given the inverse of EFGH, or 0 for the
            /// identity. RFC 9496, section 4.3.2, with X = EH and so on put in, as in
            /// `RistrettoPoint::double_and_compress_batch` of `curve25519-dalek`, where the square
            /// root is rational.
            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn compressed(&self, inverse: &Element) -> [Vector; 4] {
                let i = Element::splat(&SQRT_M1);
                let z_inverse = self.eg.times(inverse);
                let t_inverse = self.fh.times(inverse);
                let rotate = self.eg.times(&z_inverse).is_negative();
                let e = Element::select(rotate, &self.g, &self.e);
                let g = Element::select(rotate, &self.e.negated(), &self.g);
                let h = Element::select(rotate, &self.f.times(&i), &self.h);
                let magic = Element::splat(&INVSQRT_A_MINUS_D);
                let magic = Element::select(rotate, &i, &magic);
                let flip = h.times(&e).times(&z_inverse).is_negative();
                let g = Element::select(flip, &g.negated(), &g);
                let s = h.minus_wide(&g).times(&magic.times(&g.times(&t_inverse)));
                s.absolute().words()
            }
        }
    };
}

pub(super) use point;
