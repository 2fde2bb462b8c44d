"""Every filled line of a CSV file is in a row, readable or not, whatever quotes and line ends it has."""

import csv
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from unilogit.data.csv_rows import read_csv_rows
from unilogit.data.locations import is_utf8
from unilogit.data.row import Row
from unilogit.errors import InputError

HEADER = "id,time,person,records,text"


def write(folder, content, name="rows.csv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path):
    """The rows that can be read, and those that cannot."""
    rows = list(read_csv_rows(path, lambda header: [name for name in ("id", "time") if name not in header]))
    return [row for row in rows if row.fields is not None], [row for row in rows if row.fields is None]


def under_header(folder, *lines):
    return read(write(folder, "\n".join([HEADER, *lines]) + "\n"))


def fields(*cells):
    return dict(zip(HEADER.split(","), cells, strict=True))


bodies = st.binary(max_size=120) | st.lists(
    st.sampled_from(["r1", "now", ",", "\n", "\r", "\r\n", " ", "é", "\0", ";", ",,,,", "\x1c", "\ufeff"]), max_size=25
).map(lambda parts: "".join(parts).encode())


@settings(max_examples=150, deadline=None)
@given(bodies.map(lambda body: body.replace(b'"', b"'")))
@example(b"r1,now,P-1,,")
def test_every_filled_line_without_quotes_is_a_row(tmp_path_factory, body):
    path = write(tmp_path_factory.mktemp("rows"), HEADER.encode() + b"\n" + body)
    lines = re.split("\r\n|\r|\n", body.decode(errors="replace"))
    filled = [number for number, line in enumerate(lines, start=2) if any(map(str.strip, line.split(",")))]
    if not filled:
        with pytest.raises(InputError, match="no rows under the header"):
            read(path)
        return
    good, bad = read(path)
    assert sorted(row.number for row in [*good, *bad]) == filled
    assert all(row.problem and row.raw for row in bad)
    assert {row.number for row in good} <= {n for n, line in enumerate(lines, 2) if line.count(",") == 4}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(['"', '""', '","', "r1", ",", "\n", "\r\n", ",,,,\n"]), max_size=25).map("".join))
def test_quotes_in_any_place_lose_nothing(tmp_path_factory, body):
    path = write(tmp_path_factory.mktemp("rows"), f"{HEADER}\n{body}\nlast,now,P-1,,\n")
    good, bad = read(path)
    filled = [number for number, line in enumerate([*body.split("\n"), "last"], 2) if line.strip(' ,\r"')]
    starts = sorted(row.number for row in [*good, *bad])
    assert len(set(starts)) == len(starts)
    assert starts[0] <= filled[0]
    swallowed = any("last," in row.raw for row in bad) or any(
        "last," in str(row.fields) for row in good if row.fields["id"] != "last"
    )
    assert swallowed != any(row.fields["id"] == "last" for row in good)


def test_quoted_cells_hold_commas_quotes_and_lines_and_rows_keep_their_line_numbers(tmp_path):
    lines = ['r1,now,"Doe, ""Jo""", a ; b;; ,"one', "", 'two"', "r2,now,P-2,,"]
    assert under_header(tmp_path, *lines) == (
        [
            Row(2, "\n".join(lines[:3]), fields("r1", "now", 'Doe, "Jo"', " a ; b;; ", "one\n\ntwo")),
            Row(5, lines[3], fields("r2", "now", "P-2", "", "")),
        ],
        [],
    )


def test_a_text_longer_than_a_cell_of_the_csv_module_is_one_cell(tmp_path):
    text = "long, " * 50_000
    good, bad = under_header(tmp_path, f'r1,now,,,"{text}"', "r2,now,P-2,,")
    assert bad == []
    assert [row.fields["text"] for row in good] == [text, ""]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("r1,now,P-1,", r"^has 4 columns where the header has 5; .*double quotes$"),
        ("r1,now,Doe, Jo,,", r"^has 6 columns where the header has 5;"),
        ('r1,now,"Jo"e,,', r"^is not CSV .*close every quote"),
        (b"r1,now,Zo\xeb,,", r"^is not UTF-8 text; save the file as UTF-8$"),
    ],
)
def test_a_bad_row_is_set_aside_and_the_next_one_read(tmp_path, line, problem):
    line = line if isinstance(line, bytes) else line.encode()
    good, (bad,) = read(write(tmp_path, HEADER.encode() + b"\n\n" + line + b"\nr2,now,P-2,,\n"))
    assert good == [Row(4, "r2,now,P-2,,", fields("r2", "now", "P-2", "", ""))]
    assert bad.number == 3
    assert re.search(problem, bad.problem)
    assert bad.raw == line.decode(errors="backslashreplace")


def test_an_open_quote_says_which_lines_it_took(tmp_path):
    good, (bad,) = under_header(tmp_path, "r1,now,P-1,,", 'r2,now,"P-2,,', "r3,now,P-3,,", "r4,now,P-4,,")
    assert [row.number for row in good] == [2]
    assert bad.number == 3
    assert bad.problem.endswith("(a quote joins lines 3 to 5 into one row)")
    assert bad.raw == 'r2,now,"P-2,,\nr3,now,P-3,,\nr4,now,P-4,,'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"rows\.csv: the file is empty"),
        (b"\n \r\n", r"rows\.csv: the file is empty"),
        (b"\xef\xbb\xbf", r"rows\.csv: the file is empty"),
        (b"id,time\n", r"rows\.csv: there are no rows under the header"),
        (b"\n\nid,person\nr1,P-1\n", r"rows\.csv: line 3: the header lacks the column `time`"),
        (b"id|time\nr1|now\n", r"line 1: the header lacks the column `id` and `time`; .*commas, semicolons or tabs"),
        (b"id,time,x;id;time\n1,2\n", r"line 1: the header has its columns between commas and between semicolons"),
        (b"id,time,text,text\n1,2,3,4\n", r"line 1: the header names the column `text` twice"),
        (b'id,"time\nr1,now\n', r"line 1: the header is not CSV"),
        ("id,time\nr1,now\n".encode("utf-16-le"), r"line 1: the header is not UTF-8 text"),
        ("id,Größe,time\nr1,now\n".encode("cp1252"), r"line 1: the header is not UTF-8 text; save the file as UTF-8"),
        ("id,time\nr1,now\n".encode("utf-16")[:-1], r"rows\.csv: is damaged"),
    ],
)
def test_a_file_without_a_good_header_and_rows_is_refused(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as error:
        read(write(tmp_path, content))
    assert len(error.value.problems) == 1


def test_a_header_may_be_spaced(tmp_path):
    good, _ = read(write(tmp_path, " id , time\nr1,now\n"))
    assert good == [Row(2, "r1,now", {"id": "r1", "time": "now"})]


words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(words, words, words), min_size=1, max_size=5).filter(lambda rows: all(map(any, rows))),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    st.booleans(),
)
def test_what_python_writes_in_any_dialect_is_read_back(tmp_path_factory, rows, delimiter, encoding, quoting, declared):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    with open(path, "w", encoding=encoding, newline="") as stream:
        stream.write(f"sep={delimiter}\r\n" * declared)
        writer = csv.writer(stream, delimiter=delimiter, quoting=quoting)
        writer.writerows([("id", "time", "text"), *rows])
    filled = [row for row in rows if any(map(str.strip, row))]
    if not filled:
        return
    good, bad = read(path)
    assert bad == []
    assert [tuple(row.fields.values()) for row in good] == filled


def test_the_columns_that_a_spreadsheet_leaves_behind_are_no_columns_unless_something_is_in_them(tmp_path):
    good, _ = read(write(tmp_path, "id;time;;\nr1;now;;\nr2;now; ;x\n;;;\n"))
    assert [row.fields for row in good] == [
        {"id": "r1", "time": "now"},
        {"id": "r2", "time": "now", "column 4": "x"},
    ]


@given(st.text(st.characters(codec=None)))
@example("a\udfff")
def test_a_text_is_utf8_unless_it_holds_half_a_character(text):
    assert is_utf8(text) == (not re.search("[\ud800-\udfff]", text))
