"""Statistics of annotations, computed independently with numpy and scipy.

tests/data/stats/cases.json   every test and effect size of src/stats on small seeded data
tests/data/stats/paper.json   means, intervals, emergence and the comparisons of the paper's published
                              annotations (numbers only), from $DLENS_PAPER_DATA or
                              ../shared/paper-data; left as it is where those are not there

    annotations.py                 writes both
    annotations.py --check DLENS   runs DLENS analyse --json on the published annotations instead and
                                   compares with what is computed here

Intervals are those of a bootstrap, so two computations agree only within the error of resampling:
for each limit two numbers are kept, the quantiles of the reference's 40,000 draws between which the
same quantile of 10,000 other draws lies but for one case in millions.
"""

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("DLENS_TEST_DATA", ROOT / "tests" / "data")) / "stats"
PAPER = Path(os.environ.get("DLENS_PAPER_DATA", ROOT.parent / "shared" / "paper-data"))

DRAWS = 40000
SLACK = 5 * math.sqrt(0.025 * 0.975 / 10000)  # five standard errors of a share of 2.5 % of 10,000
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def plain(value):
    """A number for JSON: NaN is null."""
    value = float(value)
    return None if math.isnan(value) else value


# ---- tests and effect sizes ----------------------------------------------------------------------


def rank_biserial(d):
    d = np.asarray(d, float)
    d = d[d != 0]
    if not len(d):
        return math.nan
    ranks = stats.rankdata(abs(d))
    return (ranks[d > 0].sum() - ranks[d < 0].sum()) / ranks.sum()


def cliff(x, y):
    x, y = np.asarray(x, float), np.asarray(y, float)
    return float(np.sign(x[:, None] - y[None, :]).mean())


def holm(p):
    p = np.asarray(p, float)
    out = np.full(len(p), np.nan)
    order = [i for i in np.argsort(p, kind="stable") if not math.isnan(p[i])]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[i]))
        out[i] = largest
    return out


def spearman_interval(rho, n):
    if n <= 3:
        return math.nan, math.nan
    z = stats.norm.ppf(0.975) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    with np.errstate(divide="ignore"):
        return np.tanh(np.arctanh(rho) - z), np.tanh(np.arctanh(rho) + z)


def wilcoxon(d):
    d = np.asarray(d, float)
    if not np.any(d):
        return math.nan, math.nan
    result = stats.wilcoxon(d)
    return result.statistic, result.pvalue


def cases():
    rng = np.random.default_rng(20240309)
    out = {"spearman": [], "mann_whitney": [], "wilcoxon": [], "binomial": [], "holm": [],
           "ranks": []}
    for n, ties in [(5, 0), (12, 0), (40, 1), (40, 2), (7, 3), (200, 1)]:
        x = np.round(rng.normal(size=n), 9 if not ties else ties - 1)
        y = np.round(0.5 * x + rng.normal(size=n), 9 if not ties else ties - 1)
        result = stats.spearmanr(x, y)
        low, high = spearman_interval(result.statistic, n)
        out["spearman"].append({"x": x.tolist(), "y": y.tolist(), "rho": result.statistic,
                                "p": result.pvalue, "low": low, "high": high})
    for n, m, ties, shift in [(3, 4, 0, 0), (8, 30, 0, 1), (1, 7, 0, 0), (20, 8, 0, -2), (9, 9, 0, 1),
                              (5, 6, 1, 1), (30, 40, 1, 1), (60, 25, 2, 0), (4, 4, 1, 9), (8, 8, 0, 9)]:
        x = np.round(rng.normal(size=n), 9 if not ties else ties - 1)
        y = np.round(shift + rng.normal(size=m), 9 if not ties else ties - 1)
        result = stats.mannwhitneyu(x, y)
        out["mann_whitney"].append({"x": x.tolist(), "y": y.tolist(), "u": result.statistic,
                                    "p": result.pvalue, "delta": cliff(x, y)})
    for n, ties, shift in [(4, 0, 0), (12, 0, 1), (50, 0, 0.3), (51, 0, 0.3), (9, 1, 1), (13, 1, 0),
                           (14, 1, 1), (40, 1, 0.2), (120, 2, 0.1), (3, 0, 9), (25, 0, 2)]:
        d = np.round(shift + rng.normal(size=n), 9 if not ties else ties - 1)
        statistic, p = wilcoxon(d)
        out["wilcoxon"].append({"d": d.tolist(), "w": statistic, "p": p,
                                "effect": rank_biserial(d)})
    for k, n, p in [(0, 1, 0.5), (0, 10, 0.5), (3, 10, 0.5), (5, 10, 0.5), (10, 10, 0.5), (7, 9, 0.5),
                    (30, 40, 0.5), (3, 40, 0.2), (8, 40, 0.2), (14, 40, 0.2), (1, 3, 0.9),
                    (0, 20, 0.01), (1, 20, 0.01), (480, 1000, 0.5), (4, 1000, 0.01), (450, 500, 0.7)]:
        result = stats.binomtest(k, n, p)
        interval = result.proportion_ci(0.95, method="exact")
        out["binomial"].append({"k": k, "n": n, "p": p, "value": result.pvalue,
                                "low": interval.low, "high": interval.high})
    for p in [[0.01, 0.04, 0.03, 0.005], [0.5, 0.6, 0.7], [0.2], [0.04, 0.01, 0.01, 0.9, 0.02],
              [0.01, math.nan, 0.03]]:
        out["holm"].append({"p": [plain(v) for v in p], "holm": [plain(v) for v in holm(p)]})
    for x in [[3, 1, 2], [1, 1, 1, 1], [2, 5, 2, 7, 5, 5, 1]]:
        ties = sum(t**3 - t for t in Counter(x).values())
        out["ranks"].append({"x": x, "ranks": stats.rankdata(x).tolist(), "ties": ties})
    out["kappa"] = kappa_cases(rng)
    return out


def kappa_of(a, b):
    """Percent agreement and Cohen's kappa of two lists of yes and no."""
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    if not len(a):
        return math.nan, math.nan
    agreement = float(np.mean(a == b))
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return agreement, (agreement - chance) / (1 - chance) if chance < 1 else math.nan


def kappa_cases(rng):
    """Two annotators, 12 prompts, 3 seeds; layers 0, 6, 12 in both and one in each alone; a on 0 and
    1, b on 0 to 10; some cells are no number, some rows are in one only."""
    a, b = ["prompt,seed,0,6,12,3"], ["prompt,12,6,0,9,seed"]
    pairs = {0: [], 6: [], 12: []}
    unmatched = [0, 0]
    for prompt in range(12):
        for seed in range(3):
            truth = rng.random(3) < [0.1, 0.5, 0.9]
            ours = [t if rng.random() < 0.9 else not t for t in truth]
            theirs = [int(rng.integers(5, 11)) if (t if rng.random() < 0.8 else not t)
                      else int(rng.integers(0, 5)) for t in truth]
            x = [str(int(v)) for v in ours]
            y = [str(v) for v in theirs]
            if rng.random() < 0.1:
                x[int(rng.integers(3))] = "?"
            if rng.random() < 0.1:
                y[int(rng.integers(3))] = "Error"
            in_a, in_b = prompt != 4 or seed, prompt != 7 or seed
            if in_a:
                a.append(f"prompt {prompt},{seed},{x[0]},{x[1]},{x[2]},1")
            if in_b:
                b.append(f"prompt {prompt},{y[2]},{y[1]},{y[0]},7,{seed}.0")
            unmatched[0] += bool(in_a and not in_b)
            unmatched[1] += bool(in_b and not in_a)
            for i, layer in enumerate(pairs):
                if in_a and in_b and x[i] != "?" and y[i] != "Error":
                    pairs[layer].append((x[i] == "1", int(y[i]) >= 5))
    layers = []
    for layer, both in [*pairs.items(), (-1, sum(pairs.values(), []))]:
        agreement, kappa = kappa_of(*zip(*both))
        layers.append({"layer": layer, "n": len(both), "agreement": agreement, "kappa": kappa})
    return {"a": "\n".join(a) + "\n", "b": "\n".join(b) + "\n", "unmatched": unmatched,
            "layers": layers}


# ---- annotation files ----------------------------------------------------------------------------


class Table:
    def __init__(self, path, scale=10.0):
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
        header, rows = rows[0], rows[1:]
        layers = sorted((int(h), i) for i, h in enumerate(header) if h.strip().isdigit())
        self.name, self.scale = path.name, scale
        self.layers = [layer for layer, _ in layers]
        self.scores = np.array([[self.number(row[i]) for _, i in layers] for row in rows])
        self.prompts = [row[header.index("prompt")] for row in rows]
        seeds = [row[header.index("seed")] for row in rows]
        self.seeds = [re.sub(r"\.0*$", "", seed) for seed in seeds]
        self.there = self.scores >= scale / 2
        self.complete = ~np.isnan(self.scores).any(axis=1)

    @staticmethod
    def number(cell):
        return float(cell) if NUMBER.fullmatch(cell.strip()) else math.nan

    def units(self):
        """The rows of each prompt."""
        rows = {}
        for i, prompt in enumerate(self.prompts):
            rows.setdefault(prompt, []).append(i)
        return rows

    def keys(self):
        """(prompt, seed, how many of these came before) of each row."""
        seen, out = Counter(), []
        for key in zip(self.prompts, self.seeds):
            out.append((*key, seen[key]))
            seen[key] += 1
        return out

    def emergence(self, row, all_rows):
        """Layer of emergence of a row, NaN where it does not count."""
        if not self.complete[row]:
            return math.nan
        there = self.there[row]
        if not there[-1]:
            return 2 * self.layers[-1] - self.layers[-2] if all_rows else math.nan
        absent = np.flatnonzero(~there)
        return self.layers[absent[-1] + 1 if len(absent) else 0]

    def prompt_emergence(self, all_rows):
        out = {}
        for prompt, rows in self.units().items():
            layers = [e for e in (self.emergence(r, all_rows) for r in rows) if not math.isnan(e)]
            if layers:
                out[prompt] = float(np.mean(layers))
        return out


def limits(draws):
    """For both ends of the interval the range in which another computation's may lie."""
    draws = np.sort(draws[~np.isnan(draws)])
    quantiles = [0.025 - SLACK, 0.025 + SLACK, 0.975 - SLACK, 0.975 + SLACK]
    return [plain(v) for v in np.quantile(draws, quantiles)] if len(draws) else [None] * 4


def resample(rng, sums):
    """Totals of DRAWS resamplings of units, sums (units, width)."""
    weights = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=DRAWS)
    return weights @ np.asarray(sums, float)


def summary(table, rng):
    scores = table.scores
    units = list(table.units().values())
    sums = np.array([np.nansum(scores[rows], axis=0) for rows in units])
    counts = np.array([(~np.isnan(scores[rows])).sum(axis=0) for rows in units])
    totals = resample(rng, np.hstack([sums, counts]))
    wide = len(table.layers)
    with np.errstate(invalid="ignore"):
        draws = totals[:, :wide] / totals[:, wide:] / table.scale
    complete = np.flatnonzero(table.complete)
    layers = [table.emergence(row, False) for row in complete]
    emerged = [layer for layer in layers if not math.isnan(layer)]
    unstable = sum(bool(re.search("1+0+1", "".join("01"[int(t)] for t in table.there[row])))
                   for row in complete)
    return {
        "file": table.name, "prompts": len(units), "rows": len(scores),
        "missing": int(np.isnan(scores).sum()),
        "layers": [{"layer": layer, "n": int((~np.isnan(scores[:, i])).sum()),
                    "mean": plain(np.nanmean(scores[:, i]) / table.scale),
                    "limits": limits(draws[:, i])} for i, layer in enumerate(table.layers)],
        "emergence": {"n": len(complete), "never": len(layers) - len(emerged), "unstable": unstable,
                      "median_layer": plain(np.median(emerged)) if emerged else None,
                      "by_layer": {str(layer): emerged.count(layer) for layer in table.layers}},
    }


# ---- comparisons ---------------------------------------------------------------------------------

ENCODERS = ["sd", "df"]
TWO = "positional_two_colors_Is"


def comparisons():
    """(kind, annotation files, prompt sets) of every comparison that bench/paper.md shows."""
    out = []
    for e in ENCODERS:
        out += [
            ("complexity", [f"classes_IsCorrect_{e}", f"positional_single_color_IsCorrect_{e}",
                            f"{TWO}FirstColorCorrect_{e}", f"{TWO}SecondColorCorrect_{e}",
                            f"positional_in_RelationCorrect_{e}",
                            f"positional_on_RelationCorrect_{e}"], []),
            ("binding", [f"{TWO}FirstObjectPresent_{e}", f"{TWO}FirstColorPresent_{e}",
                         f"{TWO}FirstColorCorrect_{e}"], []),
            ("binding", [f"{TWO}SecondObjectPresent_{e}", f"{TWO}SecondColorPresent_{e}",
                         f"{TWO}SecondColorCorrect_{e}"], []),
            ("binding", [f"positional_in_FirstThingExists_{e}", f"positional_in_SecondThingExists_{e}",
                         f"positional_in_RelationCorrect_{e}"], []),
            ("binding", [f"positional_on_FirstThingExists_{e}", f"positional_on_SecondThingExists_{e}",
                         f"positional_on_RelationCorrect_{e}"], []),
            ("natural", [f"positional_single_color_IsCorrect_{e}", f"positional_in_RelationCorrect_{e}",
                         f"positional_on_RelationCorrect_{e}"], ["single_color", "relations"]),
            ("common", [f"positional_common_animals_IsCorrectAnimal_{e}",
                        f"positional_uncommon_animals_IsCorrectAnimal_{e}"],
             ["Prompts_familiar_animals", "unfamiliar_animals"]),
            ("coarse", [f"positional_common_animals_Is{q}_{e}"
                        for q in ["Animal", "Class", "CorrectAnimal"]], []),
            ("coarse", [f"positional_uncommon_animals_Is{q}_{e}"
                        for q in ["Animal", "Class", "CorrectAnimal"]], []),
        ]
    out.append(("order", [f"syntax_{s}_Is{n}Class_{e}" for s in ["head", "head_first", "compound"]
                          for e in ENCODERS for n in ["First", "Second"]],
                ["syntactic_relations_coco"]))
    return out


def read_sets(names):
    """property -> prompt -> text, over the sets."""
    out = {}
    for name in names:
        with open(PAPER / "prompts" / f"{name}.csv", newline="", encoding="utf-8-sig") as file:
            for row in csv.DictReader(file):
                for key, value in row.items():
                    out.setdefault(key, {}).setdefault(row["prompt"].strip(), value)
    return out


def independent(a, b, rng):
    """b against a: lists of prompts' layers."""
    a, b = np.array(a), np.array(b)
    draws = resample(rng, b[:, None])[:, 0] / len(b) - resample(rng, a[:, None])[:, 0] / len(a)
    test = stats.mannwhitneyu(b, a)
    return {"prompts": [len(a), len(b)], "mean": [a.mean(), b.mean()], "difference": b.mean() - a.mean(),
            "limits": limits(draws), "statistic": test.statistic, "effect": cliff(b, a),
            "p": test.pvalue}


def paired(a, b, all_rows, rng):
    rows_b = {key: i for i, key in enumerate(b.keys())}
    by_prompt = {}
    for i, key in enumerate(a.keys()):
        if key not in rows_b:
            continue
        x, y = a.emergence(i, all_rows), b.emergence(rows_b[key], all_rows)
        if not math.isnan(x) and not math.isnan(y):
            by_prompt.setdefault(key[0], []).append((x, y))
    means = np.array([np.mean(rows, axis=0) for rows in by_prompt.values()])
    d = means[:, 1] - means[:, 0]
    statistic, p = wilcoxon(d)
    return {"prompts": [len(d), len(d)], "mean": means.mean(axis=0).tolist(), "difference": d.mean(),
            "limits": limits(resample(rng, d[:, None])[:, 0] / len(d)), "statistic": plain(statistic),
            "effect": plain(rank_biserial(d)), "p": plain(p)}


def contrasts(kind, tables, sets, all_rows, rng):
    if kind == "natural":
        out = []
        for table in tables:
            layers = table.prompt_emergence(all_rows)
            groups = {"1": [], "0": []}
            for prompt, layer in layers.items():
                groups.get(sets["is_natural"].get(prompt.strip()), []).append(layer)
            out.append(independent(groups["1"], groups["0"], rng))
        return out
    if kind in ("complexity", "common"):
        layers = [list(t.prompt_emergence(all_rows).values()) for t in tables]
        return [independent(layers[0], other, rng) for other in layers[1:]]
    n = len(tables)
    if kind == "binding":
        pairs = [(i, n - 1) for i in range(n - 1)]
    else:
        pairs = [(i, i + 1) for i in range(n - 1)] + ([(0, n - 1)] if n > 2 else [])
    return [paired(tables[i], tables[j], all_rows, rng) for i, j in pairs]


def compare(kind, tables, sets, rng):
    out = {"contrasts": [], "correlations": []}
    for all_rows in [False, True]:
        these = contrasts(kind, tables, sets, all_rows, rng)
        for c, p in zip(these, holm([c["p"] if c["p"] is not None else math.nan for c in these])):
            c["p_holm"] = plain(p)
            c["rows"] = "all" if all_rows else "emerged"
        out["contrasts"] += these
        if kind == "common":
            pairs = [(layer, float(sets["avg_daily_views"][prompt.strip()])) for t in tables
                     for prompt, layer in t.prompt_emergence(all_rows).items()
                     if prompt.strip() in sets["avg_daily_views"]]
            rho = stats.spearmanr(*zip(*pairs))
            out["correlations"].append({"prompts": len(pairs), "rho": rho.statistic, "p": rho.pvalue,
                                        "rows": "all" if all_rows else "emerged",
                                        "ci95": [float(v) for v in
                                                 spearman_interval(rho.statistic, len(pairs))]})
    # dlens tells both ways of counting of each contrast together
    half = len(out["contrasts"]) // 2
    out["contrasts"] = [c for pair in zip(out["contrasts"][:half], out["contrasts"][half:])
                        for c in pair]
    return out


def verdicts(first, second):
    """prompt -> sum of signs over its pictures: above 0 the first noun comes first."""
    rows = {key: i for i, key in enumerate(second.keys())}
    out = {}
    for i, key in enumerate(first.keys()):
        j = rows.get(key)
        if j is None or not first.complete[i] or not second.complete[j]:
            continue
        a, b = first.emergence(i, True), second.emergence(j, True)
        out[key[0]] = out.get(key[0], 0) + int(np.sign(b - a))
    return out


def layer_counts(first, second):
    """Per layer: prompts with the first noun only, with the second only."""
    rows = {key: i for i, key in enumerate(second.keys())}
    out = []
    for layer in range(len(first.layers)):
        by_prompt = {}
        for i, key in enumerate(first.keys()):
            if key in rows:
                pair = first.scores[i, layer], second.scores[rows[key], layer]
                if not any(map(math.isnan, pair)):
                    by_prompt.setdefault(key[0], []).append(pair)
        there = [np.mean(pairs, axis=0) >= 5 for pairs in by_prompt.values()]
        out.append([sum(bool(a and not b) for a, b in there), sum(bool(b and not a) for a, b in there)])
    return out


def binomial(k, n):
    if not n:
        return {"k": 0, "n": 0, "ci95": [None, None], "p": None}
    test = stats.binomtest(k, n, 0.5)
    ci = test.proportion_ci(0.95, method="exact")
    return {"k": k, "n": n, "ci95": [ci.low, ci.high], "p": test.pvalue}


def compare_order(tables, sets):
    questions, signs = [], []
    for first, second in zip(tables[::2], tables[1::2]):
        sign = verdicts(first, second)
        decided = {p: s > 0 for p, s in sign.items() if s}
        head = {}
        for prompt in decided:
            nouns = [sets[k].get(prompt.strip()) for k in ["head", "noun_0", "noun_1"]]
            if nouns[0] and (nouns[0] == nouns[1]) != (nouns[0] == nouns[2]):
                head[prompt] = nouns[0] == nouns[1]
        only_linear = sum(decided[p] and not head[p] for p in head)
        only_head = sum(not decided[p] and not head[p] for p in head)
        layers = layer_counts(first, second)
        ps = [binomial(a, a + b)["p"] for a, b in layers]
        corrected = holm([math.nan if p is None else p for p in ps])
        questions.append({
            "prompts": len(sign), "undecided": len(sign) - len(decided),
            "linear": binomial(sum(decided.values()), len(decided)),
            "head": binomial(sum(decided[p] == head[p] for p in head), len(head)),
            "rules": {"only_linear": only_linear, "only_head": only_head,
                      "p": binomial(only_linear, only_linear + only_head)["p"]},
            "layers": [{"only_first": a, "only_second": b, "p": p, "p_holm": plain(h)}
                       for (a, b), p, h in zip(layers, ps, corrected)]})
        signs.append(decided)
    for key in ["linear", "head", "rules"]:
        ps = [q[key]["p"] for q in questions]
        for q, p in zip(questions, holm([math.nan if p is None else p for p in ps])):
            q[key]["p_holm"] = plain(p)
    pairs = []
    for a in range(len(signs)):
        for b in range(a + 1, len(signs)):
            shared = [p for p in signs[a] if p in signs[b]]
            if shared:
                only_a = sum(signs[a][p] and not signs[b][p] for p in shared)
                only_b = sum(signs[b][p] and not signs[a][p] for p in shared)
                pairs.append({"a": a, "b": b, "shared": len(shared), "only_a": only_a,
                              "only_b": only_b, "p": binomial(only_a, only_a + only_b)["p"]})
    for pair, p in zip(pairs, holm([math.nan if q["p"] is None else q["p"] for q in pairs])):
        pair["p_holm"] = plain(p)
    return {"questions": questions, "pairs": pairs}


def paper():
    rng = np.random.default_rng(58)
    folder = PAPER / "annotations-gpt"
    out = {"files": [summary(Table(path), rng) for path in sorted(folder.glob("*.csv"))],
           "comparisons": []}
    for kind, names, set_names in comparisons():
        names = [f"auto_prompts_{name}.csv" for name in names]
        tables = [Table(folder / name) for name in names]
        sets = read_sets(set_names)
        result = compare_order(tables, sets) if kind == "order" else compare(kind, tables, sets, rng)
        out["comparisons"].append({"kind": kind, "files": names,
                                   "sets": [f"{name}.csv" for name in set_names], **result})
    return out


# ---- checking ------------------------------------------------------------------------------------


def differ(path, expected, got, found):
    """Appends where `got` is not what is expected: numbers to 1e-9, limits as ranges."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            if key == "limits":
                inside = [(e is None) == (g is None) for e, g in zip(value, got["ci95"])]
                for end in range(2):
                    g, low, high = got["ci95"][end], *value[2 * end:2 * end + 2]
                    inside.append(low is None or low - 1e-12 <= g <= high + 1e-12)
                if not all(inside):
                    found.append(f"{path}.ci95: {got['ci95']}, expected within {value}")
            elif key in got:
                differ(f"{path}.{key}", value, got[key], found)
            else:
                found.append(f"{path}.{key}: missing")
    elif isinstance(expected, list):
        if len(expected) != len(got):
            found.append(f"{path}: {len(got)} elements, expected {len(expected)}")
        for i, (e, g) in enumerate(zip(expected, got)):
            differ(f"{path}[{i}]", e, g, found)
    elif isinstance(expected, float) and isinstance(got, (int, float)):
        if abs(expected - got) > 1e-9 * max(1.0, abs(expected)):
            found.append(f"{path}: {got}, expected {expected}")
    elif expected != got:
        found.append(f"{path}: {got}, expected {expected}")


def run(dlens, *arguments):
    command = [dlens, "analyse", *map(str, arguments), "--scale", "10", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def check(dlens):
    found, expected = [], paper()
    folder = PAPER / "annotations-gpt"
    got = run(dlens, *(folder / file["file"] for file in expected["files"]))
    for file, mine in zip(expected["files"], got):
        differ(file["file"], {**file, "file": str(folder / file["file"])}, mine, found)
    for comparison in expected["comparisons"]:
        files = [folder / name for name in comparison["files"]]
        sets = [PAPER / "prompts" / name for name in comparison["sets"]]
        mine = run(dlens, "--compare", comparison["kind"], *files, *sets)
        wanted = {k: v for k, v in comparison.items() if k not in ("kind", "files", "sets")}
        differ(comparison["kind"], wanted, mine, found)
    print("\n".join(found[:40]))
    print(f"{len(expected['files'])} files, {len(expected['comparisons'])} comparisons, "
          f"{len(found)} differences")
    return 1 if found else 0


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, separators=(",", ":"), allow_nan=False) + "\n",
                    encoding="utf-8")


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        return check(sys.argv[2])
    write(DATA / "cases.json", cases())
    if (PAPER / "annotations-gpt").is_dir():
        write(DATA / "paper.json", paper())
    else:
        print(f"{PAPER}: not there; {DATA / 'paper.json'} stays as it is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
