//! The vector types: what the arithmetic of the lanes needs, under the same names for both widths.

/// Four lanes of 64 bits.
pub(super) mod avx2 {
    pub(in super::super) use core::arch::x86_64::{
        __m256i as Vector, _mm256_add_epi64 as add, _mm256_and_si256 as and,
        _mm256_mul_epu32 as multiply, _mm256_or_si256 as or, _mm256_slli_epi64 as shift_left,
        _mm256_srli_epi64 as shift_right, _mm256_sub_epi64 as subtract,
    };
    use core::arch::x86_64::{
        _mm256_blendv_epi8, _mm256_cmpeq_epi64, _mm256_extract_epi64, _mm256_permutevar8x32_epi32,
        _mm256_set1_epi64x, _mm256_setr_epi32, _mm256_setr_epi64x,
    };

    pub(in super::super) const LANES: usize = 4;

    /// For each lane all ones, or zero.
    pub(in super::super) type Mask = Vector;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn splat(word: u64) -> Vector {
        _mm256_set1_epi64x(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn from_words(words: [u64; LANES]) -> Vector {
        let [a, b, c, d] = words.map(u64::cast_signed);
        _mm256_setr_epi64x(a, b, c, d)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn to_words(a: Vector) -> [u64; LANES] {
        [
            _mm256_extract_epi64::<0>(a),
            _mm256_extract_epi64::<1>(a),
            _mm256_extract_epi64::<2>(a),
            _mm256_extract_epi64::<3>(a),
        ]
        .map(i64::cast_unsigned)
    }

    /// Eight halves of lanes, of which lanes are filled by [`permute`].
    pub(in super::super) use core::arch::x86_64::__m256i as Row;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn row(halves: [u32; 8]) -> Row {
        let [a, b, c, d, e, f, g, h] = halves.map(u32::cast_signed);
        _mm256_setr_epi32(a, b, c, d, e, f, g, h)
    }

    /// In the lower half of each lane the half of that place; in the upper something.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn permute(row: Row, places: Vector) -> Vector {
        _mm256_permutevar8x32_epi32(row, places)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn equal(a: Vector, b: Vector) -> Mask {
        _mm256_cmpeq_epi64(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(in super::super) fn select(mask: Mask, then: Vector, otherwise: Vector) -> Vector {
        _mm256_blendv_epi8(otherwise, then, mask)
    }
}

/// Eight lanes of 64 bits.
pub(super) mod avx512 {
    pub(in super::super) use super::avx2::{Row, row};
    pub(in super::super) use core::arch::x86_64::{
        __m512i as Vector, __mmask8 as Mask, _mm512_add_epi64 as add, _mm512_and_si512 as and,
        _mm512_cmpeq_epi64_mask as equal, _mm512_mul_epu32 as multiply, _mm512_or_si512 as or,
        _mm512_slli_epi64 as shift_left, _mm512_srli_epi64 as shift_right,
        _mm512_sub_epi64 as subtract,
    };
    use core::arch::x86_64::{
        _mm256_extract_epi64, _mm512_castsi256_si512, _mm512_extracti64x4_epi64,
        _mm512_mask_blend_epi64, _mm512_permutexvar_epi32, _mm512_set1_epi64, _mm512_setr_epi64,
    };

    pub(in super::super) const LANES: usize = 8;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn splat(word: u64) -> Vector {
        _mm512_set1_epi64(word.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn from_words(words: [u64; LANES]) -> Vector {
        let [a, b, c, d, e, f, g, h] = words.map(u64::cast_signed);
        _mm512_setr_epi64(a, b, c, d, e, f, g, h)
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512f")]
    pub(in super::super) fn to_words(a: Vector) -> [u64; LANES] {
        let low = _mm512_extracti64x4_epi64::<0>(a);
        let high = _mm512_extracti64x4_epi64::<1>(a);
        [
            _mm256_extract_epi64::<0>(low),
            _mm256_extract_epi64::<1>(low),
            _mm256_extract_epi64::<2>(low),
            _mm256_extract_epi64::<3>(low),
            _mm256_extract_epi64::<0>(high),
            _mm256_extract_epi64::<1>(high),
            _mm256_extract_epi64::<2>(high),
            _mm256_extract_epi64::<3>(high),
        ]
        .map(i64::cast_unsigned)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super) fn select(mask: Mask, then: Vector, otherwise: Vector) -> Vector {
        _mm512_mask_blend_epi64(mask, otherwise, then)
    }

    /// In the lower half of each lane the half of that place; in the upper something.
    #[inline]
    #[target_feature(enable = "avx2,avx512f")]
    pub(in super::super) fn permute(row: Row, places: Vector) -> Vector {
        _mm512_permutexvar_epi32(places, _mm512_castsi256_si512(row))
    }
}
