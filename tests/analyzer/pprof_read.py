"""Reads a profile of pprof: a second, independent reading of the wire format, without the
protocol buffer library."""
import gzip


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, at


def _signed(value):
    return value - (1 << 64) if value >> 63 else value


def fields(data):
    """{number: [values]}: whole numbers, or bytes."""
    found, at = {}, 0
    while at < len(data):
        key, at = _varint(data, at)
        if key & 7 == 0:
            value, at = _varint(data, at)
        elif key & 7 == 2:
            size, at = _varint(data, at)
            value, at = data[at:at + size], at + size
            assert len(value) == size, "cut"
        else:
            raise AssertionError(f"wire type {key & 7} is not used")
        found.setdefault(key >> 3, []).append(value)
    return found


def _numbers(values):
    """Packed or not."""
    out = []
    for value in values or []:
        if isinstance(value, int):
            out.append(value)
            continue
        at = 0
        while at < len(value):
            number, at = _varint(value, at)
            out.append(number)
    return out


def _one(found, number, otherwise=0):
    return found.get(number, [otherwise])[-1]


class Profile:
    """types: [(type, unit)]; samples: [(frames, {type: value}, {label: text})], frames are
    [(address, mapping or None, [(function, file, line)])], innermost first."""

    def __init__(self, data):
        top = fields(gzip.decompress(data))
        self.strings = [s.decode() for s in top[6]]
        text = self.strings.__getitem__
        self.types = [(text(_one(t, 1)), text(_one(t, 2))) for t in map(fields, top[1])]
        self.default = text(_one(top, 14))
        self.time_nanos, self.duration_nanos = _one(top, 9), _one(top, 10)
        self.comments = [text(c) for c in _numbers(top.get(13))]
        functions, self.mappings, locations = {}, {}, {}
        for f in map(fields, top.get(5, [])):
            functions[_one(f, 1)] = (text(_one(f, 2)), text(_one(f, 4)))
        for m in map(fields, top.get(3, [])):
            self.mappings[_one(m, 1)] = dict(
                start=_one(m, 2), limit=_one(m, 3), filename=text(_one(m, 5)),
                build_id=text(_one(m, 6)), has=[_one(m, n) for n in (7, 8, 9, 10)])
        for location in map(fields, top.get(4, [])):
            lines = [(*functions[_one(l, 1)], _one(l, 2))
                     for l in map(fields, location.get(4, []))]
            mapping = _one(location, 2)
            locations[_one(location, 1)] = (_one(location, 3),
                                            self.mappings[mapping] if mapping else None, lines)
        assert 0 not in functions and 0 not in self.mappings and 0 not in locations
        self.samples = []
        for s in map(fields, top.get(2, [])):
            values = [_signed(v) for v in _numbers(s.get(2))]
            assert len(values) == len(self.types)
            labels = {text(_one(l, 1)): text(_one(l, 2)) for l in map(fields, s.get(3, []))}
            frames = [locations[i] for i in _numbers(s.get(1))]
            self.samples.append((frames, dict(zip([t for t, _ in self.types], values)), labels))

    def totals(self, tag=None):
        """The sum of each type, over the samples of a tag or all."""
        return {t: sum(values[t] for _, values, labels in self.samples
                       if tag is None or labels["tag"] == tag) for t, _ in self.types}
