"""scipy's Spearman and a bootstrap with NumPy's numbers, over the pairs of tests/worker/evaluation/rank_correlation_test.cpp.

usage: record_rank_correlation.py
needs: numpy scipy
"""
import numpy
from scipy.stats import spearmanr

i = numpy.arange(400)
query = (i * 7) % 60
score = numpy.sin(1.7 * i)
rating = numpy.round(2.5 + 2.5 * numpy.sin(1.7 * i + .9 * numpy.cos(i)), 1)
print("all", spearmanr(score, rating).statistic, "coarse", spearmanr(numpy.round(3 * score), rating).statistic)
random = numpy.random.default_rng(0)
rounds = []
for _ in range(20000):
    drawn = random.permutation(60)[:30]
    pairs = [random.choice(numpy.flatnonzero(query == q)) for q in drawn]
    rounds.append(spearmanr(score[pairs], rating[pairs]).statistic)
print("bootstrap", numpy.mean(rounds), numpy.std(rounds, ddof=1))
