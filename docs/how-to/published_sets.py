#!/usr/bin/env python3
"""Benchmarks whose items lie in files of their own, as sets that `trireme evaluate` and CLIP_benchmark read: OUT/test/0.tar …, nshards.txt.

usage: published_sets.py sugarcrepe FILE.json PICTURES OUT            a picture and two captions, the first of which is right (task choice)
       published_sets.py winoground examples.jsonl PICTURES OUT       two pictures per item, each with its own caption first (task choice, group_field item)
       published_sets.py snli-ve snli_ve_test.jsonl PICTURES OUT      a hypothesis and a label per picture (task entailment; snli_ve_dev.jsonl once more with --split dev)
       published_sets.py vqav2 QUESTIONS.json ANNOTATIONS.json PICTURES OUT     question and answers in .json (task answers)
       published_sets.py answers TRAIN_ANNOTATIONS.json FILE          the 3,129 most frequent answers of VQAv2's training annotations, one a line

With --split NAME it is OUT/NAME instead of OUT/test. Files are read as they are published, plain or .gz. PICTURES: the folder of COCO's, Flickr30k's or Winoground's pictures; OUT: a folder, for example
ROOT/wds_sugarcrepe-add_att. What is missing is named, and nothing is left. Python's own library is enough.
"""
import collections
import gzip
import io
import json
import pathlib
import re
import shutil
import sys
import tarfile

PER_TAR, ANSWERS = 2000, 3129
LABELS = {"entailment": 0, "neutral": 1, "contradiction": 2}


class Fault(Exception):
    pass


def text_of(path):
    data = pathlib.Path(path).read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise Fault(f"{path}: {error}: copy or download the file again")


def whole(path):
    try:
        return json.loads(text_of(path))
    except ValueError as error:
        raise Fault(f"{path} is no JSON: {error}")


def lines(path):
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line.strip():
            try:
                yield f"{path}, line {number}", json.loads(line)
            except ValueError as error:
                raise Fault(f"{path}, line {number} is no JSON: {error}")


def field(item, name, kind, where):
    if not isinstance(item, dict) or name not in item:
        raise Fault(f'{where} has no "{name}"')
    if not isinstance(item[name], kind) or isinstance(item[name], bool) or item[name] == "":
        raise Fault(f'{where} has a "{name}" that is empty or of another type')
    return item[name]


class Pictures:
    """By name without suffix, or by the number at its end (COCO_val2014_000000000042.jpg is 42)."""

    def __init__(self, folder):
        self.folder, self.named, self.numbered = folder, {}, {}
        for path in sorted(pathlib.Path(folder).iterdir()):
            if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"):
                if path.stem in self.named:
                    raise Fault(f"{folder} has two pictures {path.stem}")
                self.named[path.stem] = path
                number = re.search(r"(\d+)$", path.stem)
                if number:
                    self.numbered.setdefault(int(number[1]), []).append(path)
        self.asked, self.absent = 0, []

    def find(self, name):
        self.asked += 1
        if isinstance(name, int):
            found = self.numbered.get(name, [])
        else:
            stem = re.sub(r"\.(jpe?g|png|webp)$", "", name)
            found = [self.named[stem]] if stem in self.named else []
        if len(found) > 1:
            raise Fault(f"{self.folder} has several pictures that end in the number {name}: {found[0].name}, {found[1].name}")
        if not found:
            self.absent.append(str(name))
        return found[0] if found else None


def captions_of(item, names, where):
    """A text with a line each; a line break within (26 of SugarCrepe's) becomes a blank, which tokenizers read alike."""
    return "\n".join(" ".join(field(item, name, str, where).splitlines()) for name in names)


def sugarcrepe(pictures, path):
    items = whole(path)
    if not isinstance(items, dict):
        raise Fault(f"{path} is no SugarCrepe file, whose items have names")
    for name, item in items.items():
        where = f"{path}, item {name}"
        yield pictures.find(field(item, "filename", str, where)), {"txt": captions_of(item, ["caption", "negative_caption"], where)}


def winoground(pictures, path):
    for where, row in lines(path):
        for own in (0, 1):
            yield pictures.find(field(row, f"image_{own}", str, where)), {"txt": captions_of(row, [f"caption_{own}", f"caption_{1 - own}"], where), "json": json.dumps({"item": str(field(row, "id", (int, str), where))})}


def snli_ve(pictures, path):
    for where, row in lines(path):
        label = field(row, "gold_label", str, where)
        if label == "-":  # people did not agree
            continue
        if label not in LABELS:
            raise Fault(f'{where}: gold_label "{label}" is none of {", ".join(LABELS)}')
        name = row.get("Flickr30K_ID", row.get("Flickr30kID"))
        yield pictures.find(field({"Flickr30K_ID": name}, "Flickr30K_ID", str, where)), {"txt": captions_of(row, ["sentence2"], where), "cls": str(LABELS[label])}


def vqav2(pictures, questions, annotations):
    asked, given = whole(questions), whole(annotations)
    answers = {}
    for i, row in enumerate(field(given, "annotations", list, annotations)):
        where = f"{annotations}, annotation {i}"
        if answers.setdefault(field(row, "question_id", int, where), row) is not row:
            raise Fault(f"{where}: question {row['question_id']} stands twice")
    seen = 0
    for i, row in enumerate(field(asked, "questions", list, questions)):
        where = f"{questions}, question {i}"
        answer = answers.get(field(row, "question_id", int, where))
        if answer is None:
            raise Fault(f"{where}: {annotations} has no annotation of question {row['question_id']}")
        picture = field(row, "image_id", int, where)
        if field(answer, "image_id", int, f"{annotations}, question {row['question_id']}") != picture:
            raise Fault(f"{where}: {annotations} has question {row['question_id']} of another picture")
        seen += 1
        people = [field(one, "answer", str, f"{annotations}, question {row['question_id']}") for one in field(answer, "answers", list, f"{annotations}, question {row['question_id']}")]
        yield pictures.find(picture), {"txt": "-", "json": json.dumps({"question": field(row, "question", str, where), "answers": people})}
    if len(answers) != seen:
        raise Fault(f"{annotations} has {len(answers) - seen} annotations of questions that {questions} has not")


def frequent(path):
    """The answer that most people gave, of every annotation; of equally frequent ones the first in the order of bytes."""
    counts = collections.Counter(field(row, "multiple_choice_answer", str, f"{path}, annotation {i}") for i, row in enumerate(field(whole(path), "annotations", list, path)))
    return [answer for answer, _ in sorted(counts.items(), key=lambda one: (-one[1], one[0].encode()))[:ANSWERS]]


def write(rows, folder):
    folder.mkdir(parents=True)
    tar, count = None, 0
    for picture, members in rows:
        if picture is None:  # named at the end, with the others
            continue
        if count % PER_TAR == 0:
            if tar:
                tar.close()
            tar = tarfile.open(folder / f"{count // PER_TAR}.tar", "w")
        for suffix, data in [(picture.suffix[1:].lower(), picture.read_bytes()), *((suffix, text.encode()) for suffix, text in members.items())]:
            entry = tarfile.TarInfo(f"s{count:07d}.{suffix}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        count += 1
    if tar:
        tar.close()
    (folder / "nshards.txt").write_text(str((count + PER_TAR - 1) // PER_TAR))
    return count


def main():
    kinds = {"sugarcrepe": sugarcrepe, "winoground": winoground, "snli-ve": snli_ve, "vqav2": vqav2}
    words = sys.argv[1:]
    split = "test"
    if "--split" in words[:-1]:
        split = words.pop(words.index("--split") + 1)
        words.remove("--split")
    kind, *words = words or [""]
    if kind == "answers" and len(words) == 2:
        try:
            answers = frequent(words[0])
        except (Fault, OSError) as error:
            sys.exit(str(error))
        pathlib.Path(words[1]).write_text("".join(answer + "\n" for answer in answers))
        return print(f"{words[1]}: {len(answers)} answers")
    if kind not in kinds or len(words) != (4 if kind == "vqav2" else 3):
        sys.exit(__doc__)
    *files, folder, out = words
    out = pathlib.Path(out) / split
    if out.exists():
        sys.exit(f"{out} is there already: name a new folder")
    try:
        pictures = Pictures(folder)
        count = write(kinds[kind](pictures, *files), out)
        if pictures.absent:
            raise Fault(f"{len(pictures.absent)} of {pictures.asked} items name a picture that {folder} does not have (first: {pictures.absent[0]})")
        if count == 0:
            raise Fault(f"{files[0]} holds no item")
    except (Fault, OSError) as error:
        shutil.rmtree(out, ignore_errors=True)
        sys.exit(str(error))
    print(f"{out}: {count} samples")


if __name__ == "__main__":
    main()
