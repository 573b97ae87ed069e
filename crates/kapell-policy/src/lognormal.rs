//! Lengths of time as a distribution: lognormal, through two quantiles.
//!
//! Times to complete a task are positive, skewed, and made of factors that multiply; the lognormal distribution is
//! what such products tend to. Source for its use on task times: Trietsch, Mazmanyan, Gevorgyan and Baker, "Modeling
//! activity times by the Parkinson distribution with a lognormal core", European Journal of Operational Research, 2012.

use kapell_core::{plan::Estimate, time::Millis};
use rand_chacha::{ChaCha8Rng, rand_core::Rng};

/// The 90th percentile of the standard normal distribution.
const Z_90: f64 = 1.281_551_565_544_600_4;

/// The least spread that is believed of anything that takes time at all: an estimate of `p90 = p50` still means that
/// one length in ten is 6.6 % above the median or more.
const SIGMA_MIN: f64 = 0.05;

/// A lognormal distribution of lengths.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lognormal {
    /// The mean of the logarithm of the length in milliseconds; `None` if the length is always zero.
    mu: Option<f64>,
    /// The standard deviation of that logarithm.
    sigma: f64,
}

impl Lognormal {
    /// Takes the distribution through both quantiles.
    ///
    /// A median of zero means that it never takes any time. A `p90` below `p50` counts as equal to it.
    #[must_use]
    pub fn through(estimate: Estimate) -> Self {
        let (median, high) = (as_f64(estimate.p50), as_f64(estimate.p90));
        if median <= 0.0 {
            return Self { mu: None, sigma: 0.0 };
        }
        let sigma = ((high / median).ln() / Z_90).max(SIGMA_MIN);
        Self { mu: Some(median.ln()), sigma }
    }

    /// Returns the length below which a part `p` (0 to 1) of all lengths is.
    #[must_use]
    pub fn quantile(&self, p: f64) -> Millis {
        self.at(normal_quantile(p))
    }

    /// Draws a length.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> Millis {
        self.at(normal_quantile(uniform(rng)))
    }

    /// Draws how much longer something takes that has taken `elapsed` already.
    ///
    /// The distribution is cut off below `elapsed`. Far beyond what was expected this says "any moment now", for it
    /// knows of no reason to take for ever; a timeout bounds what it cannot foresee.
    pub fn sample_rest(&self, elapsed: Millis, rng: &mut ChaCha8Rng) -> Millis {
        let Some(mu) = self.mu else { return Millis(0) };
        if elapsed.0 == 0 {
            return self.sample(rng);
        }
        let passed = (as_f64(elapsed).ln() - mu) / self.sigma;
        // Draw from the upper tail beyond `passed`, by its probability.
        let tail = normal_tail(passed) * uniform(rng);
        let drawn = if tail > 0.0 { self.at(-normal_quantile(tail)) } else { elapsed };
        Millis(drawn.0.saturating_sub(elapsed.0))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is not negative"
    )]
    fn at(&self, z: f64) -> Millis {
        self.mu.map_or(Millis(0), |mu| Millis((mu + self.sigma * z).exp().round() as u64))
    }
}

#[expect(clippy::cast_precision_loss, reason = "estimates, not accounts")]
fn as_f64(length: Millis) -> f64 {
    length.0 as f64
}

/// Draws evenly from the open interval between 0 and 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    ((rng.next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Returns the value below which a standard normal variable is with probability `p`; relative error below 1.2e-9.
///
/// Source: Acklam, "An algorithm for computing the inverse normal cumulative distribution function", 2003.
fn normal_quantile(p: f64) -> f64 {
    const LOW: f64 = 0.024_25;
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let ratio = |above: &[f64], below: &[f64], x: f64| horner(above, x) / horner(below, x);
    let p = p.clamp(f64::MIN_POSITIVE, 1.0 - f64::EPSILON / 2.0);
    if p < LOW {
        ratio(&C, &D, (-2.0 * p.ln()).sqrt())
    } else if p <= 1.0 - LOW {
        let q = p - 0.5;
        q * ratio(&A, &B, q * q)
    } else {
        -ratio(&C, &D, (-2.0 * (1.0 - p).ln()).sqrt())
    }
}

fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Returns the probability that a standard normal variable is above `z`; relative error below 1.2e-7.
///
/// Source: Press, Teukolsky, Vetterling and Flannery, "Numerical Recipes", 2nd edition, section 6.2 (`erfcc`).
fn normal_tail(z: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let erfc = t * (-x * x + horner(&COEFFICIENTS, t)).exp();
    if x >= 0.0 { erfc / 2.0 } else { 1.0 - erfc / 2.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    fn estimate(p50: u64, p90: u64) -> Estimate {
        Estimate { p50: Millis(p50), p90: Millis(p90) }
    }

    #[test]
    fn the_normal_distribution_is_that_of_the_tables() {
        for (p, z) in
            [(0.5, 0.0), (0.9, Z_90), (0.975, 1.959_963_985), (0.001, -3.090_232_306), (1e-9, -5.997_807_015)]
        {
            assert!((normal_quantile(p) - z).abs() < 1e-7, "{p}: {}", normal_quantile(p));
            assert!((normal_tail(-z) / p - 1.0).abs() < 1e-6, "{z}: {}", normal_tail(-z));
        }
    }

    #[test]
    fn both_quantiles_come_back() {
        let lengths = Lognormal::through(estimate(120_000, 300_000));
        assert_eq!((lengths.quantile(0.5), lengths.quantile(0.9)), (Millis(120_000), Millis(300_000)));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut drawn: Vec<u64> = (0..20_000).map(|_| lengths.sample(&mut rng).0).collect();
        drawn.sort_unstable();
        // Standard errors of the sample quantiles are 0.8 % and 0.9 %.
        assert!(drawn[10_000].abs_diff(120_000) < 4_000, "{}", drawn[10_000]);
        assert!(drawn[18_000].abs_diff(300_000) < 11_000, "{}", drawn[18_000]);
    }

    #[test]
    fn what_is_overdue_ends_soon_and_what_is_young_does_not() {
        let lengths = Lognormal::through(estimate(100_000, 200_000));
        let mean_rest = |elapsed: u64| {
            let mut rng = ChaCha8Rng::seed_from_u64(2);
            (0..5_000).map(|_| lengths.sample_rest(Millis(elapsed), &mut rng).0).sum::<u64>() / 5_000
        };
        // The mean of the whole is exp(mu + sigma^2 / 2) = 115.8 s.
        assert!(mean_rest(0).abs_diff(115_800) < 3_000, "{}", mean_rest(0));
        assert!(mean_rest(10_000).abs_diff(105_800) < 3_000, "{}", mean_rest(10_000));
        assert!((40_000..70_000).contains(&mean_rest(150_000)), "{}", mean_rest(150_000));
    }

    #[test]
    fn lengths_without_spread_or_time_are_taken_as_they_are() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        assert_eq!(Lognormal::through(estimate(0, 10)).sample(&mut rng), Millis(0));
        assert_eq!(Lognormal::through(estimate(0, 10)).sample_rest(Millis(5), &mut rng), Millis(0));
        assert_eq!(Lognormal::through(estimate(100, 10)).quantile(0.9), Millis(107));
    }

    proptest! {
        #[test]
        fn draws_are_finite_and_repeat(p50: u64, p90: u64, elapsed: u64, seed: u64) {
            let lengths = Lognormal::through(estimate(p50, p90));
            let draw = || {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                (lengths.sample(&mut rng), lengths.sample_rest(Millis(elapsed), &mut rng))
            };
            prop_assert_eq!(draw(), draw());
        }
    }
}
