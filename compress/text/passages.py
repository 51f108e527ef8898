"""Passages that self text goes on from: kinds of text that a model says little of unless it is well begun.

Written for this purpose. Each is long enough that what the model reads is of its kind even where what it
writes drifts: other languages, code, manuals and mathematics.
"""

__all__ = ["PASSAGES"]

PASSAGES: tuple[str, ...] = (
    # German
    "Bevor Sie das Gerät zum ersten Mal einschalten, lesen Sie bitte diese Anleitung vollständig "
    "durch. Achten Sie darauf, dass der Stecker trocken ist und das Kabel keine Schäden aufweist. "
    "Drücken Sie danach die grüne Taste und warten Sie,",
    "Die Stadt liegt am Ufer eines breiten Flusses und hat heute etwa achtzigtausend Einwohner. Im "
    "Mittelalter lebte man hier vor allem vom Handel mit Salz und Tuch. Nach dem großen Brand "
    "wurde die Altstadt",
    "Um ein neues Benutzerkonto anzulegen, öffnen Sie ein Terminal und melden Sie sich als "
    "Administrator an. Der folgende Befehl erzeugt das Heimatverzeichnis und setzt die nötigen "
    "Rechte. Falls dabei eine Fehlermeldung erscheint,",
    "Als sie am Morgen das Fenster öffnete, lag der ganze Hof unter Schnee. Niemand war zu sehen, "
    "nur die Spuren einer Katze führten von der Mauer zum Schuppen. Sie zog ihren Mantel an und",
    "Die Bundesregierung hat am Mittwoch einen Entwurf vorgelegt, der die Kosten für den "
    "öffentlichen Verkehr senken soll. Kritiker bemängeln, dass die Finanzierung nicht geklärt "
    "sei. Der Minister erklärte dazu,",
    "Unter einem Betriebssystem versteht man die Programme, die den Speicher, die Prozesse und die "
    "Geräte eines Rechners verwalten. Es steht zwischen der Hardware und den Anwendungen. Zu "
    "seinen wichtigsten Aufgaben gehören",
    "Vielen Dank für Ihre Nachricht vom 3. Mai. Leider können wir den gewünschten Termin nicht "
    "bestätigen, weil der Raum bereits vergeben ist. Wir schlagen Ihnen stattdessen vor,",
    "Paket: ein Archiv, das die Dateien eines Programms und Angaben über seine Abhängigkeiten "
    "enthält. Wird ein Paket installiert, so prüft das System zunächst, ob",
    # French
    "Avant de commencer l'installation, vérifiez que vous disposez d'assez de place sur le disque "
    "et d'une copie récente de vos données. Le programme vous posera ensuite quelques questions "
    "sur la langue, le clavier et le réseau. Si vous hésitez,",
    "Le village se trouve au pied d'une montagne, à une vingtaine de kilomètres de la frontière. "
    "Son église, construite au douzième siècle, a été restaurée plusieurs fois. Chaque été, les "
    "habitants",
    "Il faisait nuit quand le train entra enfin en gare. Sur le quai, un homme attendait sous la "
    "pluie, une lettre à la main. En la voyant descendre, il",
    "Pour mettre à jour le système, il suffit de lancer la commande suivante avec les droits de "
    "l'administrateur. La liste des paquets disponibles est d'abord téléchargée, puis comparée à "
    "celle des paquets installés. En cas de conflit,",
    "Le gouvernement a annoncé mardi une réforme du service des postes qui devrait entrer en "
    "vigueur l'année prochaine. Les syndicats demandent davantage de garanties. Selon la ministre,",
    "On appelle photosynthèse le processus par lequel les plantes transforment la lumière en "
    "énergie chimique. Elle a lieu dans les feuilles et nécessite de l'eau ainsi que du gaz "
    "carbonique. Au cours de la première étape,",
    "Nous avons bien reçu votre courrier et nous vous remercions de votre confiance. Vous "
    "trouverez ci-joint le devis que vous avez demandé. N'hésitez pas à",
    "Un serveur est un ordinateur qui répond aux demandes d'autres machines. On distingue par "
    "exemple les serveurs de fichiers, les serveurs de messagerie et les serveurs web. Leur "
    "configuration se trouve en général dans",
    # Spanish
    "Para instalar la aplicación, descargue el archivo desde la página oficial y ábralo con un "
    "doble clic. Si aparece un aviso de seguridad, confirme que confía en el autor. A continuación,",
    "La ciudad fue fundada en el siglo XVI por un grupo de comerciantes y creció rápidamente "
    "gracias a su puerto. En la actualidad es conocida por sus mercados y por",
    "Cuando llegó a la casa de su abuela, encontró la puerta abierta y la mesa puesta para dos. En "
    "la cocina olía a pan. Nadie contestó cuando",
    "El sistema solar está formado por el Sol y los cuerpos que giran a su alrededor. Los planetas "
    "interiores son pequeños y rocosos, mientras que los exteriores",
    "El presidente anunció ayer que las nuevas medidas económicas entrarán en vigor a principios "
    "de año. Los sindicatos, por su parte, consideran que",
    # Italian
    "Dopo aver acceso il computer, inserite il nome utente e la password che avete ricevuto per "
    "posta. Se il collegamento alla rete non funziona, controllate prima il cavo e poi",
    "Il fiume nasce sulle Alpi e attraversa tre regioni prima di gettarsi nel mare. Lungo le sue "
    "rive si trovano numerosi castelli, tra cui",
    "Mescolate la farina con il lievito e aggiungete l'acqua poco alla volta. Lasciate riposare "
    "l'impasto per due ore in un luogo caldo, quindi",
    "Quella sera nessuno parlò a tavola. Il padre guardava fuori dalla finestra e la madre",
    # Portuguese and Dutch
    "Antes de ligar o aparelho, leia com atenção as instruções de segurança e guarde este manual. "
    "Em caso de avaria, contacte",
    "A região é famosa pelos seus vinhos e pelas aldeias de pedra. No inverno, as estradas ficam",
    "Om het programma te starten opent u een terminal en typt u de volgende opdracht. Als het "
    "bestand niet wordt gevonden, controleer dan of",
    "Het museum werd in 1898 geopend en toont schilderijen uit de zeventiende eeuw. Bezoekers kunnen",
    # Other languages and scripts
    "Po zainstalowaniu programu należy ponownie uruchomić komputer. Jeśli pojawi się komunikat o błędzie,",
    "Innan du börjar bör du kontrollera att alla delar finns i lådan. Skruva sedan fast",
    "Город расположен на берегу большой реки. В нём живёт около ста тысяч человек. Зимой здесь",
    "这个城市位于河边,有很多古老的建筑。每年春天,人们",
    "この町は海の近くにあり、昔から漁業が盛んです。毎年夏になると、",
    # Code
    'def read_lines(path, *, encoding="utf-8", strip=True):\n    """Return the lines of a text '
    'file as a list."""\n    with open(path, encoding=encoding) as file:\n        lines = '
    "file.readlines()\n    if strip:\n",
    "class Queue:\n    def __init__(self, maximum=None):\n        self._items = []\n        "
    "self._maximum = maximum\n\n    def put(self, item):\n        if self._maximum is not None and "
    "len(self._items) >= self._maximum:\n",
    "import argparse\nimport logging\nimport sys\n\n"
    "logger = logging.getLogger(__name__)\n\n\ndef main(argv=None):\n    parser = "
    "argparse.ArgumentParser(description=",
    "class TestParser(unittest.TestCase):\n    def setUp(self):\n        self.parser = "
    'Parser()\n\n    def test_empty(self):\n        self.assertEqual(self.parser.parse(""), '
    "[])\n\n    def test_",
    "#include <stdio.h>\n#include <stdlib.h>\n\nstatic int compare(const void *left, const void "
    "*right)\n{\n    const int a = *(const int *)left;\n    const int b = *(const int *)right;\n",
    "public final class Account {\n    private final String owner;\n    private long "
    "balance;\n\n    public Account(String owner, long balance) {\n",
    "async function loadUser(id) {\n  const response = await fetch(`/api/users/${id}`);\n  if "
    "(!response.ok) {\n",
    "func (s *Server) handle(w http.ResponseWriter, r *http.Request) {\n\tif r.Method != http.MethodGet {\n",
    "impl Iterator for Counter {\n    type Item = u32;\n\n    fn next(&mut self) -> Option<Self::Item> {\n",
    "SELECT customer.name, COUNT(*) AS orders, SUM(total) AS revenue\n"
    "FROM customer\nJOIN purchase ON purchase.customer_id = customer.id\n"
    "WHERE",
    '#!/bin/sh\nset -eu\n\nusage() {\n    echo "usage: $0 [-v] directory" >&2\n    exit 2\n}\n\n',
    '{\n  "name": "example",\n  "version": "1.4.2",\n  "dependencies": {\n    ',
    "server:\n  host: 0.0.0.0\n  port: 8080\nlogging:\n  level: info\n  handlers:\n    - ",
    # Manuals
    "NAME\n       join - combine lines of two sorted files\n\n"
    "SYNOPSIS\n       join [OPTION]... FILE1 FILE2\n\n"
    "DESCRIPTION\n       ",
    "=head1 DESCRIPTION\n\nThis module provides an object-oriented interface to temporary files. "
    "It exports nothing by default.\n\n=head2 Methods\n\n"
    "=over 4\n\n=item new(",
    ".. function:: parse(text, *, strict=False)\n\n   Return a list of tokens. If *strict* is "
    "true, :exc:`ValueError` is raised when",
    "Installation\n============\n\nThe package needs Python 3.10 or newer. Install it "
    "with::\n\n    pip install ",
    # Mathematics
    "Let $f$ be a continuous function on the closed interval $[a, b]$ and suppose that $f(a) < 0 < "
    "f(b)$. We show that there is a point $c$ with $f(c) = 0$. Define",
    "Question: A shop sells pencils at 3 for 2 dollars. How much do 24 pencils cost?\n"
    "Answer: Let's think step by step. ",
    "Returns the greatest common divisor of two polynomials.\n\n"
    "Examples\n========\n\n>>> from algebra import gcd\n"
    ">>> from symbols import x, y\n>>> gcd(x**2 - 1, x - 1)\n"
    "x - 1\n>>> ",
    "Question: Which of the following is a mammal?\n"
    "(A) trout (B) whale (C) lizard (D) eagle\n"
    "Answer: Let's think step by step.",
    "To solve the equation 2x^2 - 5x - 3 = 0 we use the quadratic formula. Here a = 2, b = -5 and c = -3, so",
    "| month | rain (mm) | temperature (C) |\n|---|---|---|\n"
    "| January | 52 | 1.4 |\n| February | 44 | 2.0 |\n",
    # Encyclopaedia and news
    " = The Battle of the River = \n\n The battle was fought on 14 September between two armies of "
    "about eight thousand men each . It was the third",
    "The album was released in October and reached number four on the charts. Critics praised its "
    "production but found the lyrics uneven. The first single,",
    "The species was first described in 1843 from specimens collected in the highlands. Adults are "
    "about 12 cm long and",
    "SAN FRANCISCO - Shares of the company fell by six percent on Thursday after it reported lower "
    "sales than expected. Analysts",
)
