"""Every record that crosses a module border, in the order of the data flow.

    expert files -> Trajectory -> StepExample -> TrainingExample -> RolloutGroup -> metrics, checkpoint, Score

All records are frozen, keyword-only and hold plain Python values (no tensors), so that each of them can be
written as one JSON object. Three words mean three things: a *step* is the expert's, an *update* the optimizer's, a
*turn* an agent's. A *trajectory* is the expert's, a *rollout* the policy's.
"""

from srl.types.expert import DroppedRow, Problem, Source, Step, StepExample, Trajectory, TrajectoryKind
from srl.types.rollouts import (
    BatchReward,
    ChatPrompt,
    Completion,
    FinishReason,
    Generation,
    Message,
    ParsedCompletion,
    Parser,
    ParseStatus,
    Reward,
    Rollout,
    RolloutGroup,
    SamplingParams,
    Score,
    TrainingExample,
    Ungraded,
    UngradedRollout,
)

__all__ = [
    "BatchReward",
    "ChatPrompt",
    "Completion",
    "DroppedRow",
    "FinishReason",
    "Generation",
    "Message",
    "ParseStatus",
    "ParsedCompletion",
    "Parser",
    "Problem",
    "Reward",
    "Rollout",
    "RolloutGroup",
    "SamplingParams",
    "Score",
    "Source",
    "Step",
    "StepExample",
    "TrainingExample",
    "Trajectory",
    "TrajectoryKind",
    "Ungraded",
    "UngradedRollout",
]
