"""The settings of a stage that say what it is trained on and how the policy is asked; ``config.py`` has the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from srl.errors import require
from srl.prompts import ContextPlace, PromptTexts


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Expert data of one stage."""

    train: str
    """File, folder or Hub dataset id ("owner/name" or "owner/name:split") of trajectories in any format that \
`srl decompose` reads, or of the step examples that it writes."""
    validation: str = ""
    """The same for validation; empty: whole trajectories are held out of `train`."""
    num_validation_trajectories: int = 60
    """How many trajectories to hold out of `train`, chosen by the seed. 0 turns validation off. Without effect (an \
error if changed) when `validation` is given."""
    include_last_step: bool = False  # Paper: 4.2 makes N-1 examples of N steps; training on the last one too is ours.
    """Also train on the last step of each trajectory. The paper makes N-1 examples of N steps."""
    min_target_chars: int = 0
    """Leave out examples whose target action has fewer characters. Ours."""
    max_target_chars: int = 0
    """Leave out examples whose target action has more characters; 0: no limit. Ours."""
    max_examples_per_trajectory: int = 0
    """At most this many examples of one trajectory, so that long logs do not outweigh short ones; 0: no limit. Ours."""
    one_step: bool = False
    """srl: ask for the whole solution at once and compare it with the whole expert solution (the ablation of \
Table 3)."""
    draw_by: Literal["example", "trajectory"] = "example"
    """Whether examples are drawn one by one, or those of a trajectory together and in the order of its steps. \
Then what their prompts begin with is computed once for several, but the examples of an update are more alike. Ours."""
    starts: Literal["problem", "mixed", "staged"] = "problem"
    """rlvr: start from the problem alone, or (R3) from the problem and the expert's first k steps. mixed: every k \
from the first update on. staged: k slides from the expert's last step to the problem alone. The reward is always \
the final answer."""
    num_start_stages: int = 6
    """staged: the stage has so many parts of equal length, and as many ranges of k, the latest first and the problem \
alone last. No effect otherwise."""

    def __post_init__(self) -> None:
        require(
            min(self.min_target_chars, self.max_target_chars, self.max_examples_per_trajectory) >= 0,
            "data.min_target_chars, max_target_chars and max_examples_per_trajectory must be at least 0",
        )
        room = not 0 < self.max_target_chars < self.min_target_chars
        require(room, "data.max_target_chars is below data.min_target_chars, which leaves no example")
        require(self.num_start_stages >= 2, "data.num_start_stages must be at least 2")
        require(
            self.starts == "staged" or self.num_start_stages == 6,
            'data.num_start_stages has no effect without data.starts = "staged"',
        )
        require(self.train != "", "data.train is empty; name a file or a Hub dataset")
        require(self.num_validation_trajectories >= 0, "data.num_validation_trajectories must be at least 0")
        held_out = self.num_validation_trajectories != 60
        require(
            not (self.validation and held_out),
            "data.num_validation_trajectories has no effect when data.validation names a file; remove one of them",
        )


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    """How the policy is asked."""

    context_in: ContextPlace = "user"  # Paper: B.2.1 has the user's turn only; "assistant" is ours.
    """Where the earlier steps stand: in the user's turn (the paper) or as the beginning of the assistant's turn."""
    title_in_prompt: bool = False  # Paper: footnote 1 finds the title helpful; off here, on in the math recipes.
    """Give the title of the step to predict and ask only for its body (the paper's footnote 1). Without it the \
policy writes number, title and body."""
    context_turns: int = 2
    """Agents' logs: rounds of action and observation that the prompt shows (5.3). No effect on solutions."""
    max_observation_tokens: int = 1024  # Paper: 5.3 gives no limit on observations.
    """Agents' logs: longer observations are cut in the middle to this many tokens of the policy's tokenizer. Ours."""
    max_prompt_tokens: int = 0  # Paper: gives no limit on prompts.
    """Longest prompt. An agent's context is cut to fit, never the problem; solutions with longer prompts are left out \
and counted. 0: what the model's window leaves beside the completion. Ours."""
    own_steps: Literal["off", "steps", "thoughts"] = "off"  # Paper: 4.2 always conditions on the expert's steps.
    """Against exposure bias: where the policy has written an earlier step well enough in training, that step of its \
own stands in the context in place of the expert's; with "thoughts" its monologue before it, too. Ours."""
    own_steps_min_reward: float = 0.9
    """Well enough is a reward of at least this."""
    own_steps_after: float = 0.0
    """Share of the stage after which own steps are used; they are collected from the beginning."""
    texts: PromptTexts = field(default_factory=PromptTexts)
    """Wording beside the data; every text can be replaced."""

    def __post_init__(self) -> None:
        require(self.context_turns >= 0, "prompt.context_turns must be at least 0")
        require(self.max_observation_tokens >= 1, "prompt.max_observation_tokens must be at least 1")
        require(self.max_prompt_tokens >= 0, "prompt.max_prompt_tokens must be at least 0")
        require(0 <= self.own_steps_after < 1, "prompt.own_steps_after must be in [0, 1)")
        require(self.own_steps_min_reward <= 1, "prompt.own_steps_min_reward must be at most 1, the highest reward")
        own = (self.own_steps_min_reward, self.own_steps_after) == (0.9, 0.0)
        require(
            self.own_steps != "off" or own,
            'prompt.own_steps_min_reward and own_steps_after have no effect with own_steps = "off"',
        )
        require(
            self.own_steps != "thoughts" or self.context_in == "assistant",
            'prompt.own_steps = "thoughts" needs context_in = "assistant": thoughts are not the user\'s to give',
        )
        require("{title}" in self.texts.title_note, "prompt.texts.title_note must contain {title}")
        require("{count}" in self.texts.agent_cut_marker, "prompt.texts.agent_cut_marker must contain {count}")


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Which examples a stage trains on, by what its first policy makes of them in a pass before the first update."""

    # Paper: 4.2 trains on every example. Choosing by variance is the idea of PivotRL (arXiv 2603.21383).
    num_rollouts: int = 0
    """Rollouts of each training example in the pass; they count towards `schedule.max_rollouts`. 0: no pass. Ours."""
    min_reward_std: float = 0.0
    """Train only on examples whose rewards in the pass have a population standard deviation above this. 0 leaves \
nothing out."""
    max_mean_reward: float = 1.0
    """Train only on examples whose mean reward in the pass is at most this. 1 leaves nothing out."""
    easy_share: float = 1.0
    """A curriculum: the stage begins with this share of the examples, those of the highest mean reward in the pass. \
1: with all of them."""
    full_at: float = 0.5
    """Share of the stage after which all examples are drawn from; until then their number grows evenly."""

    def __post_init__(self) -> None:
        require(self.num_rollouts >= 0 and self.num_rollouts != 1, "selection.num_rollouts must be 0 or at least 2")
        require(self.min_reward_std >= 0, "selection.min_reward_std must be at least 0")
        require(self.max_mean_reward <= 1, "selection.max_mean_reward must be at most 1, the highest reward")
        require(0 < self.easy_share <= 1, "selection.easy_share must be in (0, 1]")
        require(0 < self.full_at <= 1, "selection.full_at must be in (0, 1]")
        require(
            self.easy_share < 1 or self.full_at == 0.5, "selection.full_at has no effect with selection.easy_share = 1"
        )
        chooses = self.min_reward_std > 0 or self.max_mean_reward < 1 or self.easy_share < 1
        require(
            self.num_rollouts > 0 or not chooses,
            "the settings of [selection] have no effect with selection.num_rollouts = 0",
        )
        require(
            self.num_rollouts == 0 or chooses,
            "selection.num_rollouts has no effect alone; set min_reward_std, max_mean_reward or easy_share",
        )


@dataclass(frozen=True, kw_only=True)
class InterleaveConfig:
    """Whole problems among the steps of an SRL stage, rewarded by their final answer, in place of a stage of RLVR."""

    # Paper: 5.1 has RLVR in a stage of its own, after SRL.
    first_share: float = 0.0
    """Share of whole problems among what is drawn at the beginning of the stage. Ours."""
    last_share: float = 0.0
    """The same at its end; in between the share changes evenly. 0 in both: steps only. The stage ends when the steps \
or the problems have been drawn `schedule.num_epochs` times. Ours."""

    def __post_init__(self) -> None:
        for name in ("first_share", "last_share"):
            require(0 <= getattr(self, name) <= 1, f"interleave.{name} must be in [0, 1]")

    @property
    def is_on(self) -> bool:
        """Whether there are whole problems at all."""
        return self != InterleaveConfig()
