"""Small word lists for synthetic grammars: everyday words of several languages, none from any malware."""

WORDS: dict[str, tuple[str, ...]] = {
    "english": tuple(
        "able air apple arm autumn back bag ball bank bell bird black blue boat body bone book box bread bridge bright bring brother "
        "brown build car cat chair chance change child city clean clear cloud coat cold color cook corn count cross dark day deep "
        "desk dog door dream drive dry earth east easy egg engine eye face fact fair family farm fast father field fire fish floor "
        "flower fly food foot forest free friend fruit game garden glass gold good grass great green ground group hand happy hard "
        "head heart heavy hill home horse hot house ice iron island job kitchen lake land large leaf light line lion long machine "
        "market milk mind money month moon morning mother mountain music name near new night noise north ocean old orange order "
        "paper park part path peace pen people picture place plain plan plant point power quick quiet rain red rest rice river road "
        "rock room root rose round salt sand school sea season seed ship shoe short silver sister sky sleep small smile snow soft "
        "song south space spring star station stone street strong summer sun sweet table tail tall time town tree true truth uncle "
        "valley voice walk wall warm watch water wave way week west wheel white wide wild wind window winter wood word work world "
        "year yellow young".split()
    ),
    "german": tuple(
        "abend apfel arbeit auge baum berg bild blatt blume boden brief brot bruder buch burg dach dorf eis erde farbe feld fenster "
        "feuer fisch fluss frau freund garten geld glas gold gras hafen hand haus herz himmel holz hund insel jahr kaffee karte katze "
        "kind kirche klein kraft land leben licht luft mann markt meer milch mond morgen nacht nase nord pferd platz rad regen ring "
        "rose salz sand schiff schnee schule see sommer sonne spiel stadt stein stern stimme tag tanz tier tisch tor traum turm vogel "
        "wald wand wasser weg wein welt wetter wind winter wolke wort zeit zimmer zug".split()
    ),
    "french": tuple(
        "ami an arbre argent ville bois bon bras bruit cadeau carte chaise champ chanson chat chaud cheval chien ciel coeur corps "
        "cote cour doux eau ecole enfant epaule esprit etoile fait femme fenetre feu feuille fille fin fleur foret froid fruit fort "
        "gare glace grand herbe heure hiver homme jardin jaune jeune jour lac lait lampe lettre livre lumiere lune main maison marche "
        "matin mer midi monde montagne mot mur neige nom nuit oiseau ombre orage pain papier paix pierre place plage pluie poisson "
        "pont port porte reve riz robe rouge route rue sable sel soir soleil table temps terre tour train vent vert vie vin voix".split()
    ),
    "spanish": tuple(
        "agua aire alma amigo arbol arena azul barco blanco boca bosque brazo caballo calle camino campo cancion casa cielo ciudad "
        "clara color corazon dia dinero dulce espejo estrella fiesta flor frio fuego fuerte gato gente grande hermano hierba hijo "
        "hoja hombre hora invierno isla jardin joven lago leche libro luna luz madera madre mano mar mesa monte mujer mundo nieve "
        "noche nube nuevo ojo oro padre pan papel pared perro piedra playa plaza puente puerta queso rey rio rojo rosa sal sangre "
        "silla sol sombra sueno tarde tiempo tierra torre trabajo tren verde verano viento vida viejo vino voz".split()
    ),
    "italian": tuple(
        "acqua albero amico anno aria barca bello bianco bocca bosco caldo campo cane casa cavallo cielo citta cuore dolce donna erba "
        "estate festa fiore fiume foglia forte freddo fuoco gatto giorno grande isola lago latte legno letto libro luce luna madre "
        "mano mare mattina mondo monte neve notte nuvola occhio ombra oro pane parola pesce pietra ponte porta rosso sale sasso scala "
        "sera sole sogno stella strada tavola tempo terra torre treno uomo vento verde vino vita voce".split()
    ),
    "polish": tuple(
        "babcia brat chleb chmura cien ciepło czas dom droga drzewo dzien gora gwiazda jablko jezioro jutro kamien kawa kino kolor kon "
        "kosc kot ksiega kwiat las lato lampa lisc lod luna maslo miasto miesiac mleko morze most noc nos ogien ogrod okno oko pies "
        "pole praca ptak reka rok rower ryba rynek slon slowo snieg sol stol swiat szkola trawa ulica wiatr wieczor wino woda zamek "
        "zima zloto zycie".replace("ł", "l").split()
    ),
    "dutch": tuple(
        "appel avond berg bloem boek boom boot brief broer brood brug dag deur dorp duin fiets geel geld glas goud gras groen groot "
        "haven hond huis jaar kaas kaart kat kerk kind klein koffie land lente lucht maan markt meer melk mens molen morgen nacht "
        "neus noord paard plein raam regen rivier rood schip school sneeuw stad steen ster straat strand tafel tijd toren trein tuin "
        "vis vogel vriend vuur wagen water weg week wereld wind winter wolk zand zee zomer zon zout".split()
    ),
    "turkish": tuple(
        "agac anne araba arkadas ates ay baba bahce balik beyaz bulut buz cicek cocuk dag deniz dere ev gece gol gun guzel hava hayat "
        "kalem kapi kar kara kedi kitap kopek kopru koy kus limon masa mavi meyve nehir okul orman para pencere ruzgar sabah sari "
        "sehir sicak soguk sokak su sut tas toprak tuz yagmur yaprak yaz yesil yildiz yol zaman".split()
    ),
    "indonesian": tuple(
        "air angin api awan ayam bahasa baju batu besar bintang buah bukit bulan bunga burung danau daun gunung hari hijau hujan hutan "
        "ikan jalan kaki kapal kayu kecil kopi kota kuda kucing laut lampu langit malam mata matahari meja merah nasi orang padi "
        "pagi pantai pasar pohon pulau putih rumah rumput sawah sayur siang sungai tanah teman tangan ular".split()
    ),
}
