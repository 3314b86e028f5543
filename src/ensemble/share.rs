//! Whose samples a step is about, and how the members of an ensemble are shared out among threads.

use super::Member;
use crate::layout::Layout;
use crate::loss::Targets;
use crate::step::{join, part};

/// The inputs of a step of an [`Ensemble`](super::Ensemble).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemberInputs<'a> {
    /// All members see the same samples, `[batch × inputs]`.
    Shared(&'a [f32]),
    /// Each has its own (in an order of its own, drawn with replacement, of another user), `[members × batch ×
    /// inputs]`.
    Own(&'a [f32]),
}

/// The targets of a step of an [`Ensemble`](super::Ensemble), with weights and masks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemberTargets<'a> {
    /// Those of `batch` samples, the same for all members.
    Shared(Targets<'a>),
    /// Those of `members × batch` samples, the first member's first. A member's mean is over its own samples.
    Own(Targets<'a>),
}

impl MemberInputs<'_> {
    /// Those of the first members, and of the others; each has `len` floats.
    fn split_at(self, members: usize, len: usize) -> (Self, Self) {
        match self {
            Self::Shared(_) => (self, self),
            Self::Own(x) => {
                let (own, others) = x.split_at(members * len);
                (Self::Own(own), Self::Own(others))
            }
        }
    }
}

impl MemberTargets<'_> {
    /// Those of the first members, and of the others; each has `batch` samples.
    fn split_at(self, members: usize, batch: usize, outputs: usize) -> (Self, Self) {
        match self {
            Self::Shared(_) => (self, self),
            Self::Own(targets) => {
                let (own, others) = targets.split_at(members * batch, outputs);
                (Self::Own(own), Self::Own(others))
            }
        }
    }
}

impl<'a> MemberInputs<'a> {
    /// All that there are: what a single member sees.
    pub(super) fn all(self) -> &'a [f32] {
        match self {
            Self::Shared(x) | Self::Own(x) => x,
        }
    }
}

impl<'a> MemberTargets<'a> {
    /// All that there are: what a single member sees.
    pub(super) fn all(self) -> Targets<'a> {
        match self {
            Self::Shared(targets) | Self::Own(targets) => targets,
        }
    }
}

/// How much of everything a member has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) params: usize,
    pub(super) state: usize,
}

impl Sizes {
    pub(super) const fn new(layout: &Layout<'_>, batch: usize, state: usize) -> Self {
        Self { batch, inputs: layout.inputs(), outputs: layout.outputs(), params: layout.params_len(), state }
    }
}

/// Some consecutive members, and what is theirs.
pub(super) trait Share: Sized + Send {
    fn members(&self) -> usize;

    /// The first members, and the others.
    fn split_at(self, members: usize, sizes: &Sizes) -> (Self, Self);
}

/// What members train with.
pub(super) struct Training<'s> {
    pub(super) members: &'s [Member],
    pub(super) inputs: MemberInputs<'s>,
    pub(super) targets: MemberTargets<'s>,
    pub(super) params: &'s mut [f32],
    pub(super) state: &'s mut [f32],
    pub(super) losses: &'s mut [f32],
}

impl Share for Training<'_> {
    fn members(&self) -> usize {
        self.members.len()
    }

    fn split_at(self, members: usize, sizes: &Sizes) -> (Self, Self) {
        let (own, others) = self.members.split_at(members);
        let (inputs, other_inputs) = self.inputs.split_at(members, sizes.batch * sizes.inputs);
        let (targets, other_targets) = self.targets.split_at(members, sizes.batch, sizes.outputs);
        let (params, other_params) = self.params.split_at_mut(members * sizes.params);
        let (state, other_state) = self.state.split_at_mut(members * sizes.state);
        let (losses, other_losses) = self.losses.split_at_mut(members);
        (
            Self { members: own, inputs, targets, params, state, losses },
            Self {
                members: others,
                inputs: other_inputs,
                targets: other_targets,
                params: other_params,
                state: other_state,
                losses: other_losses,
            },
        )
    }
}

/// What members predict with.
pub(super) struct Prediction<'s> {
    pub(super) members: usize,
    pub(super) inputs: MemberInputs<'s>,
    pub(super) params: &'s [f32],
    pub(super) outputs: &'s mut [f32],
}

impl Share for Prediction<'_> {
    fn members(&self) -> usize {
        self.members
    }

    fn split_at(self, members: usize, sizes: &Sizes) -> (Self, Self) {
        let (inputs, other_inputs) = self.inputs.split_at(members, sizes.batch * sizes.inputs);
        let (params, other_params) = self.params.split_at(members * sizes.params);
        let (outputs, other_outputs) = self.outputs.split_at_mut(members * sizes.batch * sizes.outputs);
        let others = self.members - members;
        (
            Self { members, inputs, params, outputs },
            Self { members: others, inputs: other_inputs, params: other_params, outputs: other_outputs },
        )
    }
}

/// How members are shared out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread {
    pub(super) shares: usize,
    /// Members that are worked on at a time.
    pub(super) group: usize,
    /// Floats of workspace for each share.
    pub(super) workspace: usize,
}

impl Spread {
    /// Runs `work` on all members, a group at a time, the shares at the same time where there are threads for them.
    pub(super) fn run<T: Share>(
        self,
        share: T,
        sizes: &Sizes,
        workspace: &mut [f32],
        work: &(impl Fn(T, &mut [f32]) + Sync),
    ) {
        if self.shares <= 1 {
            let mut rest = share;
            while rest.members() > self.group {
                let (group, others) = rest.split_at(self.group, sizes);
                work(group, workspace);
                rest = others;
            }
            return work(rest, workspace);
        }
        let first = self.shares / 2;
        let groups = part(share.members().div_ceil(self.group), first, self.shares);
        let (own, others) = share.split_at(groups * self.group, sizes);
        let (workspace, other_workspace) = workspace.split_at_mut(first * self.workspace);
        join(
            || Self { shares: first, ..self }.run(own, sizes, workspace, work),
            || Self { shares: self.shares - first, ..self }.run(others, sizes, other_workspace, work),
        );
    }
}
