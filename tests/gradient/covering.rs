//! Pairs of everything: networks in which each choice meets each other choice at least once, all of them
//! checked; and in each of them what is made wrong on purpose is noticed.
//!
//! The array is built greedily, row by row, as AETG does (Cohen, Dalal, Fredman, Patton 1997, "The AETG system:
//! an approach to testing based on combinatorial design"): of several candidates the one that
//! covers most pairs that are still missing.

use super::*;
use microprop::Penalty;
use std::collections::BTreeSet;

/// What a network is put together from. Each choice is an index into one of these.
const FACTORS: [usize; 13] = [
    FIRST.len(),
    KINDS,
    super::super::HIDDEN.len(),
    DROPOUTS.len(),
    2, // residual connection of the first layer: none, over 1
    KINDS,
    super::super::HIDDEN.len(),
    DROPOUTS.len(),
    3, // of the second: none, over 1, over 2
    TOPS.len(),
    WEIGHINGS.len(),
    BATCHES.len(),
    PENALTIES.len(),
];

/// Where in [`FACTORS`] a choice stands.
const KIND: [usize; 2] = [1, 5];
const TOP: usize = 9;
const WEIGHING: usize = 10;
const BATCH: usize = 11;

/// All layers' outputs.
const WIDTH: usize = 7;

const KINDS: usize = 6;

const DROPOUTS: [f32; 2] = [0.0, 0.4];

const BATCHES: [usize; 4] = [1, 2, 31, 70];

/// On the weights of all layers.
const PENALTIES: [Penalty; 3] = [Penalty::NONE, Penalty::l2(0.2), Penalty::elastic_net(0.05, 0.1)];

/// What stands below the two layers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum First {
    Nothing,
    Normalization,
    Embedding,
    Both,
    Dropout,
}

const FIRST: [First; 5] = [First::Nothing, First::Normalization, First::Embedding, First::Both, First::Dropout];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Weighs {
    Samples(Weighing),
    /// A weight for each class: of targets that are classes.
    Classes,
}

const WEIGHINGS: [Weighs; 5] = [
    Weighs::Samples(Weighing::Nothing),
    Weighs::Samples(Weighing::SampleWeights),
    Weighs::Samples(Weighing::Mask),
    Weighs::Samples(Weighing::Both),
    Weighs::Classes,
];

/// Each loss, each kind of target and each output activation. (The other file has each loss on each activation.)
const TOPS: [(Activation, Loss<'static>, TargetKind); 24] = [
    (Tanh, Loss::HalfMeanSquaredError, TargetKind::Values),
    (GeluTanh, Loss::HalfMeanSquaredError, TargetKind::Values),
    (Relu, Loss::MeanSquaredError, TargetKind::Values),
    (HardSwish, Loss::MeanSquaredError, TargetKind::Values),
    (Softmax, Loss::MeanSquaredError, TargetKind::Values),
    (LeakyRelu { slope: 0.1 }, Loss::MeanAbsoluteError, TargetKind::Values),
    (Mish, Loss::MeanAbsoluteError, TargetKind::Values),
    (Elu { alpha: 0.7 }, Loss::Huber { delta: 0.4 }, TargetKind::Values),
    (Silu, Loss::Huber { delta: 0.4 }, TargetKind::Values),
    (Selu, Loss::LogCosh, TargetKind::Values),
    (HardSigmoid, Loss::LogCosh, TargetKind::Values),
    (Gelu, Loss::Quantile { quantile: 0.8 }, TargetKind::Values),
    (Softsign, Loss::Quantile { quantile: 0.8 }, TargetKind::Values),
    (Linear, Loss::Hinge, TargetKind::Signs),
    (Softplus, Loss::Poisson, TargetKind::Counts),
    (Sigmoid, Loss::BinaryCrossEntropy, TargetKind::Soft),
    (Sigmoid, Loss::SmoothedBinaryCrossEntropy { smoothing: 0.2 }, TargetKind::OneHot),
    (Sigmoid, Loss::BinaryCrossEntropyOfProbabilities, TargetKind::Soft),
    (Sigmoid, Loss::KullbackLeibler, TargetKind::Soft),
    (Softmax, Loss::CrossEntropyOfProbabilities, TargetKind::Soft),
    (Softmax, Loss::CrossEntropy, TargetKind::Classes),
    (Softmax, Loss::CrossEntropy, TargetKind::Soft),
    (Softmax, Loss::SmoothedCrossEntropy { smoothing: 0.3 }, TargetKind::Classes),
    (Softmax, Loss::SmoothedCrossEntropy { smoothing: 0.3 }, TargetKind::OneHot),
];

/// A choice for each factor.
type Row = [usize; FACTORS.len()];

/// Two factors, the first the smaller one, and what is chosen for them.
type Pair = (usize, usize, usize, usize);

/// Whether two choices can stand in one network.
fn is_allowed(pair: Pair) -> bool {
    let (a, chosen_a, b, chosen_b) = pair;
    // Of one sample, or two, the batch's own mean and variance leave nothing, or signs.
    let norm_of_few = KIND.contains(&a) && kinds(WIDTH)[chosen_a] == Kind::BatchNorm && b == BATCH;
    let weighted_classes = a == TOP && b == WEIGHING && WEIGHINGS[chosen_b] == Weighs::Classes;
    let without_classes = weighted_classes && TOPS[chosen_a].2 != TargetKind::Classes;
    !(norm_of_few && BATCHES[chosen_b] < 5 || without_classes)
}

fn pair(a: usize, chosen_a: usize, b: usize, chosen_b: usize) -> Pair {
    if a < b { (a, chosen_a, b, chosen_b) } else { (b, chosen_b, a, chosen_a) }
}

/// Every pair that is allowed.
fn allowed_pairs() -> BTreeSet<Pair> {
    let mut pairs = BTreeSet::new();
    for (b, &choices_b) in FACTORS.iter().enumerate() {
        for (a, &choices_a) in FACTORS[..b].iter().enumerate() {
            pairs.extend((0..choices_a).flat_map(|i| (0..choices_b).map(move |j| (a, i, b, j))));
        }
    }
    pairs.into_iter().filter(|&pair| is_allowed(pair)).collect()
}

/// The rows of the array.
fn rows() -> Vec<Row> {
    const CANDIDATES: usize = 20;
    let draw = &mut Draw(1997);
    let (mut missing, mut rows) = (allowed_pairs(), Vec::new());
    while let Some(&first) = missing.first() {
        let candidates = (0..CANDIDATES).map(|_| {
            let row = candidate(draw, first, &missing);
            (pairs_of(row).filter(|pair| missing.contains(pair)).count(), row)
        });
        let (_, row) = candidates.max_by_key(|(new, _)| *new).unwrap();
        pairs_of(row).for_each(|pair| _ = missing.remove(&pair));
        rows.push(row);
    }
    rows
}

/// A row with the pair `first`: the other factors in any order, each with the choice that covers most.
fn candidate(draw: &mut Draw, first: Pair, missing: &BTreeSet<Pair>) -> Row {
    let mut row = [None; FACTORS.len()];
    (row[first.0], row[first.2]) = (Some(first.1), Some(first.3));
    let mut order: Vec<usize> = (0..FACTORS.len()).filter(|&factor| row[factor].is_none()).collect();
    while !order.is_empty() {
        let factor = order.swap_remove(draw.bits() as usize % order.len());
        let (shift, choices) = (draw.bits() as usize, FACTORS[factor]);
        // From any of them on, so that equals take turns.
        let choices = (0..choices).map(|choice| (choice + shift % choices) % choices);
        let best = choices.filter_map(|choice| {
            let chosen = row.iter().enumerate().filter_map(|(other, chosen)| chosen.map(|chosen| (other, chosen)));
            let mut pairs = chosen.map(|(other, chosen)| pair(factor, choice, other, chosen));
            let allowed = pairs.clone().all(is_allowed);
            allowed.then(|| (pairs.by_ref().filter(|pair| missing.contains(pair)).count(), choice))
        });
        row[factor] = best.max_by_key(|(new, _)| *new).map(|(_, choice)| choice);
        assert!(row[factor].is_some(), "nothing goes with {row:?}");
    }
    row.map(Option::unwrap)
}

fn pairs_of(row: Row) -> impl Iterator<Item = Pair> {
    let factors = 0..FACTORS.len();
    factors.flat_map(move |b| (0..b).map(move |a| (a, row[a], b, row[b])))
}

/// The network of a row, with its data.
fn case(row: Row) -> Case {
    let [
        first,
        kind1,
        activation1,
        dropout1,
        residual1,
        kind2,
        activation2,
        dropout2,
        residual2,
        top,
        weighing,
        batch,
        penalty,
    ] = row;
    let (normalization, words) = (of(Kind::Normalization, Linear), embedding(1, 3, 2));
    let (inputs, mut below) = match FIRST[first] {
        First::Nothing => (WIDTH, vec![]),
        First::Normalization => (WIDTH, vec![normalization]),
        First::Embedding => (WIDTH - 1, vec![words]),
        First::Both => (WIDTH - 1, vec![normalization, words]),
        First::Dropout => (WIDTH, vec![dropout(of(Kind::Elementwise, Linear), 0.2)]),
    };
    for (kind, activation, rate, span) in
        [(kind1, activation1, dropout1, residual1), (kind2, activation2, dropout2, residual2)]
    {
        let spec = of(kinds(WIDTH)[kind], super::super::HIDDEN[activation]);
        below.push(residual(dropout(spec, DROPOUTS[rate]), span));
    }
    let (activation, loss, targets) = TOPS[top];
    let weighing = match WEIGHINGS[weighing] {
        Weighs::Samples(weighing) => weighing,
        Weighs::Classes => Weighing::Nothing,
    };
    let penalty = PENALTIES[penalty];
    for spec in below.iter_mut().filter(|spec| matches!(spec.kind, Kind::Dense { .. } | Kind::Embedding { .. })) {
        spec.penalty = penalty;
    }
    let mut case = Case::draw(inputs, &below, 3, Top { activation, loss, targets, weighing }, BATCHES[batch]);
    let last = below.len();
    case.specs[last].penalty = penalty;
    case.layers[last] = case.specs[last].layer();
    if WEIGHINGS[row[WEIGHING]] == Weighs::Classes {
        case.class_weights = Some(vec![0.5, 2.0, 0.25]);
    }
    case
}

/// The array has each pair that is allowed, and no other; a row is worth many.
#[test]
fn the_array_covers_every_pair() {
    let (rows, allowed) = (rows(), allowed_pairs());
    let covered: BTreeSet<Pair> = rows.iter().flat_map(|&row| pairs_of(row)).collect();
    assert_eq!(covered, allowed);
    let all: usize = (0..FACTORS.len()).map(|b| FACTORS[..b].iter().sum::<usize>() * FACTORS[b]).sum();
    // Two layers of batch norm on two small batches; class weights on all tops but two.
    assert_eq!(allowed.len(), all - 2 * 2 - 22);
    let least = TOPS.len() * super::super::HIDDEN.len();
    assert!((least..least * 5 / 4).contains(&rows.len()), "{} rows", rows.len());
    assert_eq!(rows, self::rows());
    println!(
        "{} pairs in {} rows; there are {} networks",
        allowed.len(),
        rows.len(),
        FACTORS.iter().product::<usize>()
    );
}

#[test]
fn every_row_agrees_with_the_reference() {
    let (mut worst, rows) = (0.0, rows());
    for (turn, &row) in rows.iter().enumerate() {
        worst = f64::max(worst, check_everywhere(&case(row), turn % 8 == 0));
    }
    println!("{} rows, worst error {worst:.2} deviations of {DEVIATIONS}, of twice that over a batch norm", rows.len());
}

/// Whether a fault could show in a case: whether it has what the fault is about.
fn concerns(fault: Fault, case: &Case) -> bool {
    let specs = &case.specs;
    let activation = |activation: Activation| {
        specs.iter().any(|spec| std::mem::discriminant(&spec.activation) == std::mem::discriminant(&activation))
    };
    let kind = |kinds: &[Kind]| kinds.iter().any(|&kind| case.has(kind));
    let loss = |loss: Loss<'_>| std::mem::discriminant(&case.loss) == std::mem::discriminant(&loss);
    let norms = [Kind::LayerNorm, Kind::RmsNorm, Kind::BatchNorm];
    match fault {
        Fault::TanhSlope => activation(Tanh),
        Fault::SigmoidSlope => activation(Sigmoid),
        Fault::ReluSlope => activation(Relu),
        Fault::LeakySlope => activation(LeakyRelu { slope: 0.0 }),
        Fault::EluSlope => activation(Elu { alpha: 0.0 }),
        Fault::SeluSlope => activation(Selu),
        Fault::GeluSlope => activation(Gelu),
        Fault::GeluTanhSlope => activation(GeluTanh),
        Fault::SiluSlope => activation(Silu),
        Fault::MishSlope => activation(Mish),
        Fault::SoftplusSlope => activation(Softplus),
        Fault::SoftsignSlope => activation(Softsign),
        Fault::HardSigmoidSlope => activation(HardSigmoid),
        Fault::HardSwishSlope => activation(HardSwish),
        Fault::SoftmaxDiagonal => activation(Softmax),
        Fault::AbsoluteSlope => loss(Loss::MeanAbsoluteError),
        Fault::HuberUnlimited => loss(Loss::Huber { delta: 0.0 }),
        Fault::LogCoshSlope => loss(Loss::LogCosh),
        Fault::QuantileExchanged => loss(Loss::Quantile { quantile: 0.0 }),
        Fault::PoissonSlope => loss(Loss::Poisson),
        Fault::HingeBeyondMargin => loss(Loss::Hinge),
        Fault::BinaryProbabilitySlope => loss(Loss::BinaryCrossEntropyOfProbabilities),
        Fault::ProbabilitySlope => loss(Loss::CrossEntropyOfProbabilities) || loss(Loss::KullbackLeibler),
        Fault::NoSmoothing => {
            loss(Loss::SmoothedCrossEntropy { smoothing: 0.0 })
                || loss(Loss::SmoothedBinaryCrossEntropy { smoothing: 0.0 })
        }
        Fault::NoWeights => case.weights.is_some() || case.class_weights.is_some(),
        Fault::MaskDivisor | Fault::NoMask => case.mask.is_some(),
        Fault::NoMean => case.batch > 1,
        Fault::NoMeanOverOutputs | Fault::NoBias | Fault::LastSample | Fault::TransposedWeights => true,
        Fault::DropoutOnlyForward => specs.iter().any(|spec| spec.dropout > 0.0),
        Fault::ResidualOnlyForward => specs.iter().any(|spec| spec.residual > 0),
        Fault::NormMeanConstant => kind(&[Kind::LayerNorm, Kind::BatchNorm]),
        Fault::NormVarianceConstant | Fault::NormScale | Fault::NormUnscaled => kind(&norms),
        Fault::LastCategory => specs.iter().any(|spec| matches!(spec.kind, Kind::Embedding { .. })),
        Fault::Standardized => kind(&[Kind::Normalization]),
        Fault::UnsignedL1 => specs.iter().any(|spec| spec.penalty.l1 > 0.0),
        Fault::DoubleL2 | Fault::PenalizedBias | Fault::NoPenaltyInLoss => {
            specs.iter().any(|spec| spec.penalty.l2 > 0.0)
        }
        // No probability comes near the limits here: `extreme_logits` has it.
        Fault::NotLimited => false,
    }
}

/// By how many standard deviations two losses, gradients, and deltas at the inputs differ.
fn difference(a: &Expected, b: &Expected) -> f64 {
    let pairs = [
        (vec![a.loss], vec![b.loss]),
        (a.gradient.gradient(), b.gradient.gradient()),
        (a.from_outputs.inputs.concat(), b.from_outputs.inputs.concat()),
    ];
    let elements = pairs.iter().flat_map(|(a, b)| a.iter().zip(b));
    elements.map(|(a, b)| (a.value - b.value).abs() / (a.deviation() + 1e-30)).fold(0.0, f64::max)
}

/// In each row each fault that makes a difference is noticed, and each fault makes one somewhere.
#[test]
fn every_row_notices_what_is_wrong() {
    // As far as ours may be from either, and more.
    const CLEAR: f64 = 4.0 * DEVIATIONS + 1.0;
    let mut noticed = BTreeSet::new();
    let (mut count, mut unclear) = (0, 0);
    for (turn, &row) in rows().iter().enumerate() {
        let case = case(row);
        let right = [case.expected(false, None), case.expected(true, None)];
        let faults: Vec<Fault> = Fault::ALL.iter().copied().filter(|&fault| concerns(fault, &case)).collect();
        // Four of them, by turns.
        for fault in (0..4).map(|i| faults[(turn + i * faults.len() / 4) % faults.len()]) {
            let wrong = case.expected(true, Some(fault));
            if difference(&right[1], &wrong) < CLEAR {
                unclear += 1;
                continue;
            }
            let caught = check(&case, [&right[0], &wrong], Isa::SCALAR, Schedule::Batch, 1);
            assert!(caught.is_err(), "{fault:?} passes: {}", case.name);
            noticed.insert(fault);
            count += 1;
        }
    }
    let elsewhere = [Fault::NotLimited];
    assert_eq!(noticed.len() + elsewhere.len(), Fault::ALL.len(), "noticed are only {noticed:?}");
    assert!(unclear < count / 10, "{unclear} make no difference beside {count}");
    println!("{count} faults in {} rows, {unclear} more that make no difference", rows().len());
}
