//! One golden run as its file has it, and how far the framework's own float32 run is from it.

use microprop::{Adam, EpsilonPlacement, Optimizer, Sgd};
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

/// How much farther than the framework's own float32 run ours may be.
pub(crate) const BAR: f64 = 2.0;

/// One file: the words of each line after its key.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) lines: BTreeMap<String, Vec<String>>,
}

impl Golden {
    /// Reads every run in `directory` of `tests/`, by name.
    pub(crate) fn all(directory: &str) -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
        let mut all = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if path.extension().is_some_and(|extension| extension == "txt") && name.contains('_') {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut lines = BTreeMap::new();
                for line in text.lines() {
                    let mut words = line.split(' ').map(str::to_owned);
                    lines.insert(words.next().unwrap(), words.collect());
                }
                all.push(Self { name, lines });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    pub(crate) fn words(&self, key: &str) -> &[String] {
        self.lines.get(key).unwrap_or_else(|| panic!("{}: no line {key}", self.name))
    }

    /// The numbers of a line, from its word `from` on.
    pub(crate) fn numbers<T: FromStr>(&self, key: &str, from: usize) -> Vec<T> {
        let number = |word: &String| word.parse().unwrap_or_else(|_| panic!("{}: {key} {word}", self.name));
        self.words(key)[from..].iter().map(number).collect()
    }

    pub(crate) fn number<T: FromStr + Copy>(&self, key: &str) -> T {
        self.numbers(key, 0)[0]
    }

    pub(crate) fn framework(&self) -> &str {
        &self.words("framework")[0]
    }

    pub(crate) fn optimizer(&self) -> Optimizer {
        self.optimizer_with(match self.framework() {
            "torch" => EpsilonPlacement::Corrected,
            _ => EpsilonPlacement::Uncorrected,
        })
    }

    pub(crate) fn optimizer_with(&self, placement: EpsilonPlacement) -> Optimizer {
        let settings: Vec<f32> = self.numbers("optimizer", 1);
        match (self.words("optimizer")[0].as_str(), settings.as_slice()) {
            ("sgd", &[rate]) => Sgd::new(rate).into(),
            ("momentum", &[rate, mu]) => Sgd::new(rate).momentum(mu).into(),
            ("nesterov", &[rate, mu]) => Sgd::new(rate).nesterov(mu).into(),
            ("adam", &[rate, beta1, beta2, epsilon]) => {
                Adam::new(rate).betas(beta1, beta2).epsilon(epsilon, placement).into()
            }
            other => panic!("{}: optimizer {other:?}", self.name),
        }
    }

    /// How far the framework's float32 is from its float64, in losses and in final parameters:
    /// the median of five runs with `suffix` `_of_5`, else a single one.
    pub(crate) fn float32_distances(&self, suffix: &str) -> [f64; 2] {
        let of = |key: &str| -> Vec<f64> { self.numbers(&format!("f32_{key}_distance{suffix}"), 0) };
        [of("loss")[0], of("final")[1]]
    }

    /// Which of the networks, trained by which optimizer.
    pub(crate) fn case(&self) -> &str {
        self.name.split_once('_').unwrap().1
    }

    /// How far we may be from the float64 run.
    pub(crate) fn bar(&self, all: &[Self]) -> [f64; 2] {
        let same = all.iter().filter(|other| other.case() == self.case());
        same.map(|other| other.float32_distances("_of_5").map(|distance| BAR * distance))
            .reduce(|[a, b], [c, d]| [a.min(c), b.min(d)])
            .unwrap()
    }

    /// How far losses and final parameters of ours are from the float64 run's.
    pub(crate) fn distances_of(&self, losses: &[f32], params: &[f32]) -> [f64; 2] {
        let (golden_losses, golden_final) = (self.numbers("losses", 0), self.numbers("final", 0));
        assert_eq!((losses.len(), params.len()), (golden_losses.len(), golden_final.len()), "{}", self.name);
        let initial: Vec<f32> = self.numbers("initial", 0);
        assert!(norm(&initial, &golden_final) > 0.1, "{}: a run that goes nowhere proves nothing", self.name);
        [differences(losses, &golden_losses).fold(0.0, f64::max), norm(params, &golden_final)]
    }
}

/// |ours − golden|, element by element.
fn differences(ours: &[f32], golden: &[f64]) -> impl Iterator<Item = f64> {
    ours.iter().zip(golden).map(|(&ours, golden)| (f64::from(ours) - golden).abs())
}

/// ‖ours − golden‖.
pub(crate) fn norm(ours: &[f32], golden: &[f64]) -> f64 {
    differences(ours, golden).map(|d| d * d).sum::<f64>().sqrt()
}

pub(crate) fn within(distances: [f64; 2], bar: [f64; 2]) -> bool {
    distances.iter().zip(bar).all(|(&distance, bar)| distance <= bar)
}
