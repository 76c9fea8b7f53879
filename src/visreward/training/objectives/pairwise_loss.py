"""The loss of images that were compared: of pairs, of whole rows, or of ratings.

Shape letters: M images of all rows, P pairs, O outputs of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from visreward.data.rated_edits import PairVotes
from visreward.losses.bradley_terry import bradley_terry_loss
from visreward.losses.bradley_terry_ties import bradley_terry_ties_loss
from visreward.losses.likelihood_displacement import likelihood_displacement_loss
from visreward.losses.pair_softmax import pair_softmax_loss
from visreward.losses.plackett_luce import plackett_luce_loss
from visreward.losses.pointwise import pointwise_loss
from visreward.losses.uncertainty import sampled_uncertainty_loss, uncertainty_loss
from visreward.losses.vote_shares import vote_share_loss, vote_share_uncertainty_loss
from visreward.training.data.pairs import ordered_pairs, pair_votes, ranked_groups, tied_pairs
from visreward.training.options.objective_config import PairwiseConfig

Ratings = Sequence[Sequence[float]]
"""Of each image of each row; NaN where there is none."""


class PairwiseLoss:
    """The loss that a configuration chooses."""

    def __init__(self, config: PairwiseConfig) -> None:
        self.config = config

    def of_ratings(
        self, logits: Tensor, ratings: Ratings, *, votes: Sequence[Sequence[PairVotes]]
    ) -> Tensor:
        """Return the loss of the images of all rows, 0 where there is nothing to learn.

        Args:
            logits: (M, O) mu, and log sigma where there are two.
            ratings: Of the M images.
            votes: Of each row.
        """
        if self.config.loss == "pointwise":
            return self._pointwise(logits, ratings)
        if self.config.loss == "listwise":
            places, ranks = (each.to(logits.device) for each in ranked_groups(ratings))
            return plackett_luce_loss(logits[places, 0], ranks=ranks, ties=self.config.ties)
        ordered, tied = ordered_pairs(ratings), tied_pairs(ratings)
        if self.config.loss == "bradley-terry-ties":
            return self.of_pairs(logits, torch.cat([ordered, tied]), num_ties=len(tied))
        if self.config.ties == "both-directions":
            ordered = torch.cat([ordered, tied, tied.flip(1)])
        if self.config.labels == "votes":
            sizes = [len(row) for row in ratings]
            counts = pair_votes(ordered, votes, sizes=sizes).to(logits.device)
            return self._of_votes(logits, ordered, counts)
        return self.of_pairs(logits, ordered)

    def of_pairs(self, logits: Tensor, pairs: Tensor, *, num_ties: int = 0) -> Tensor:
        """Return the mean loss of (P, 2) pairs (chosen, rejected); 0 where there are none.

        The last `num_ties` pairs are ties. Losses that know no pairs take Bradley-Terry.
        """
        config = self.config
        if len(pairs) == 0:
            return logits.sum() * 0
        chosen, rejected = _sides(logits, pairs)
        if config.loss == "uncertainty":
            return self._of_gaussians(chosen, rejected)
        score_chosen, score_rejected = chosen[:, 0], rejected[:, 0]
        if config.loss == "bradley-terry-ties":
            is_tie = torch.arange(len(pairs), device=logits.device) >= len(pairs) - num_ties
            return bradley_terry_ties_loss(
                score_chosen=score_chosen, score_rejected=score_rejected, is_tie=is_tie
            )
        if config.loss == "likelihood-displacement":
            return likelihood_displacement_loss(
                score_chosen=score_chosen, score_rejected=score_rejected, tau=config.tau
            )
        if config.loss == "pair-softmax":
            return pair_softmax_loss(
                score_chosen=score_chosen, score_rejected=score_rejected, fidelity=config.fidelity
            )
        return bradley_terry_loss(
            score_chosen=score_chosen, score_rejected=score_rejected, margin=config.margin
        )

    def _of_gaussians(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Return the uncertainty loss of (P, 2) mu and log sigma, exact or from samples."""
        config = self.config
        loss: Callable[..., Tensor] = uncertainty_loss
        if config.num_samples is not None:
            # A step begins with a seed of its own, so that a resumed run draws the same.
            generator = torch.Generator(chosen.device).manual_seed(int(torch.randint(1 << 62, ())))
            loss = partial(
                sampled_uncertainty_loss, generator=generator, num_samples=config.num_samples
            )
        return loss(
            mu_chosen=chosen[:, 0],
            log_sigma_chosen=chosen[:, 1],
            mu_rejected=rejected[:, 0],
            log_sigma_rejected=rejected[:, 1],
            fidelity=config.fidelity,
            margin=config.margin,
        )

    def _of_votes(self, logits: Tensor, pairs: Tensor, votes: Tensor) -> Tensor:
        """Return the cross-entropy of (P, 2) pairs with (P, 2) votes."""
        if len(pairs) == 0:
            return logits.sum() * 0
        chosen, rejected = _sides(logits, pairs)
        for_chosen, for_rejected = votes.unbind(dim=1)
        if self.config.loss == "uncertainty":
            return vote_share_uncertainty_loss(
                mu_chosen=chosen[:, 0],
                log_sigma_chosen=chosen[:, 1],
                mu_rejected=rejected[:, 0],
                log_sigma_rejected=rejected[:, 1],
                votes_chosen=for_chosen,
                votes_rejected=for_rejected,
                fidelity=self.config.fidelity,
            )
        return vote_share_loss(
            score_chosen=chosen[:, 0],
            score_rejected=rejected[:, 0],
            votes_chosen=for_chosen,
            votes_rejected=for_rejected,
        )

    def _pointwise(self, logits: Tensor, ratings: Ratings) -> Tensor:
        known = torch.tensor([value for row in ratings for value in row], device=logits.device)
        is_there = ~known.isnan()
        if not is_there.any():
            return logits.sum() * 0
        return pointwise_loss(
            logits[is_there, 0], ratings=known[is_there], offset=self.config.offset
        )


def _sides(logits: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
    chosen, rejected = pairs.to(logits.device).unbind(dim=1)
    return logits[chosen], logits[rejected]
