"""Names that nobody bears, as devices of many countries write them."""


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_CHINESE_FAMILIES = _listed(
    "王 李 张 刘 陈 杨 黄 赵 吴 周 徐 孙 马 朱 胡 郭 何 高 林 罗 郑 梁 谢 宋 唐 许 韩 冯 邓 "
    "曹 彭 曾 肖 田 董 袁 潘 蔡 蒋 余 于 杜 叶 程 苏 魏 吕 丁 任 沈 姚 卢 姜 崔 钟 谭 陆 汪 "
    "范 金 石 廖 贾 夏 韦 付 方 白 邹 孟 熊 秦 邱 江 尹 薛 闫 段 雷 侯 龙 史 陶 黎 贺 顾 毛 "
    "郝 龚 邵 万 钱 严 覃 武 戴 莫 孔 向 汤 温 康 施 文 牛 樊 葛 邢 安 齐 欧阳 司马 诸葛 "
    "上官 买 玛 阿 逄"
)
_CHINESE_GIVEN = _listed(
    "伟 芳 娜 秀英 敏 静 丽 强 磊 军 洋 勇 艳 杰 娟 涛 明 超 秀兰 霞 平 刚 桂英 建国 志强 "
    "玉兰 子涵 梓萱 浩然 宇轩 一诺 欣怡 雨泽 佳琪 思远 婉婷 雪莹 倩 慧琳 玥 珺 喆 堃 淼 焱 "
    "鑫 昊天 俊熙 嘉懿 煜城 懿轩 烨伟 苑博 伟泽 熠彤 鸿煊 博涛 烨霖 烨华 煜祺 智宸 正豪 昊然 "
    "明杰 立诚 国庆 爱民 淑珍 凤英 春梅 德福 根生 水生 长贵 福来 翠花 招娣 满仓 拴柱 铁蛋 "
    "大勇 二妮 三宝 斌 宁 晨 岩 冰 帆 璐 瑶 茜 莹 颖 燕 蕾 薇 萍 婷 雯 晶 楠 旭"
)
CHINESE = tuple(
    f"{family}^{_CHINESE_GIVEN[at * 7 % len(_CHINESE_GIVEN)]}"
    for at, family in enumerate(_CHINESE_FAMILIES * 2)
)
"""Family and given name, two to four characters."""

_EUROPEAN_FAMILIES = _listed(
    "Müller Schröder Jäger Weiß Böhm Größing Äneas Kühn Hübner Schäfer Krüger Löwe Übelacker "
    "Groß Lefèvre Hélène Béranger Gaugué Châtelain Benoît Forêt Périgny Noël Françoise "
    "Garçon Crépin Núñez Muñoz Peña Ibáñez García Rodríguez Jiménez Hernández Gutiérrez "
    "Ñandú Güell Martín Conceição Assunção Gonçalves Magalhães Leitão Simões Araújo Mourão "
    "Brandão São Guimarães Åström Sjöberg Öberg Åkesson Lindström Höglund Hämäläinen Määttä "
    "Väisänen Bjørnsson Sørensen Kjær Østergård Ærø Þórsson Guðmundsdóttir Sigurðsson "
    "Jónsdóttir Ågård Öçalan Çelik Dürr Niccolò Bartolomé D'Angiò Perù Cantù Forlì"
)
_EUROPEAN_GIVEN = _listed(
    "Jürgen Jörg Käthe Günther Sören Björn René Zoë Chloé André Anaïs Loïc José María Ángel "
    "Iñaki Begoña João Mário Inês Antônio Åse Pär Göran Mårten Jáchym Émile Óscar Úrsula Éva "
    "Søren Bjørk Þóra Æsa Íris Özlem Ümit Peter Hans Anna Pierre Carlos Ana Lars Erik Mikko"
)
EUROPEAN = tuple(
    f"{family}^{_EUROPEAN_GIVEN[(at * 5 + at // len(_EUROPEAN_FAMILIES)) % len(_EUROPEAN_GIVEN)]}"
    for at, family in enumerate(_EUROPEAN_FAMILIES * 3)
) + tuple(name.replace("ß", "ss").upper() for name in _EUROPEAN_FAMILIES)
"""Names of Latin-1 with accents, as they are written and in capitals."""

KOREAN = _listed(
    "김^철수 이^영희 박^지훈 최^민준 정^서연 강^하은 조^현우 윤^도윤 장^예준 임^수빈 한^지민 "
    "오^유진 서^준호 신^미경 권^순자 황^정숙 안^성호 송^태현 류^재석 홍^길동 전^상훈 고^은주 "
    "문^동욱 양^혜진 손^나영 배^수지 백^종원 허^재 남^기훈 심^은하 노^진구 하^정우 곽^부성 "
    "성^유리 차^승원 주^지훈 우^희진 구^교환 민^효린 나^문희"
)
JAPANESE = _listed(
    "山田^太郎 佐藤^花子 鈴木^一郎 高橋^健太 田中^美咲 伊藤^大輔 渡辺^直美 山本^翔太 中村^愛 "
    "小林^誠 加藤^由美 吉田^拓也 山口^真由美 松本^清 井上^陽子 木村^拓哉 斎藤^学 清水^さくら "
    "山崎^あゆみ 森^進一 阿部^寛 池田^勇人 橋本^かおり 石川^五右衛門 前田^利家 藤田^ゆかり "
    "後藤^洋平 岡田^准一 長谷川^京子 村上^春樹 近藤^勇 石井^裕也 遠藤^周作 青木^さやか "
    "坂本^龍馬 福田^沙紀 西村^京太郎 太田^裕美 三浦^友和 藤井^聡太"
)
KANA = _listed("ﾔﾏﾀﾞ^ﾀﾛｳ ｻﾄｳ^ﾊﾅｺ ｽｽﾞｷ^ｲﾁﾛｳ ﾀｶﾊｼ^ｹﾝﾀ ﾀﾅｶ^ﾐｻｷ ｲﾄｳ^ﾀﾞｲｽｹ ﾜﾀﾅﾍﾞ^ﾅｵﾐ ｺﾊﾞﾔｼ^ﾏｺﾄ")
CYRILLIC = _listed(
    "Иванов^Иван Петрова^Анна Сидоров^Пётр Кузнецов^Алексей Смирнова^Ольга Попов^Дмитрий "
    "Васильева^Елена Соколов^Михаил Михайлова^Татьяна Новиков^Сергей Фёдорова^Наталья "
    "Морозов^Андрей Волкова^Ирина Алексеев^Павел Лебедева^Мария Семёнов^Николай "
    "Егорова^Светлана Козлов^Юрий Степанова^Галина Орлов^Виктор Макарова^Людмила "
    "Захаров^Игорь Зайцева^Вера Борисов^Олег Яковлева^Нина Григорьев^Роман Романова^Дарья "
    "Воробьёв^Антон Щербакова^Юлия Жуков^Георгий ИВАНОВ^ИВАН ПЕТРОВА^АННА КУЗНЕЦОВ^АЛЕКСЕЙ "
    "СМИРНОВА^ОЛЬГА ПОПОВ^ДМИТРИЙ"
)
GREEK = _listed(
    "Παπαδόπουλος^Γεώργιος Οικονόμου^Μαρία Γεωργίου^Ιωάννης Νικολάου^Ελένη Βασιλείου^Κώστας "
    "Δημητρίου^Άννα Ιωάννου^Νίκος Παππάς^Σοφία Αγγελής^Δημήτρης Καραγιάννης^Κατερίνα "
    "Διονύσιος^Πέτρος Μακρής^Αλέξανδρος Λάμπρου^Ειρήνη Ζαχαρίου^Φώτης Αντωνίου^Χριστίνα "
    "ΠΑΠΑΔΟΠΟΥΛΟΣ^ΓΕΩΡΓΙΟΣ ΝΙΚΟΛΑΟΥ^ΕΛΕΝΗ ΔΗΜΗΤΡΙΟΥ^ΑΝΝΑ ΜΑΚΡΗΣ^ΠΕΤΡΟΣ ΑΓΓΕΛΗΣ^ΣΟΦΙΑ"
)
ARABIC = _listed(
    "قباني^نزار محمود^أحمد الحسن^فاطمة عبدالله^خالد النجار^ليلى حداد^سمير منصور^هدى "
    "الشريف^عمر سليمان^مريم خوري^جورج البكري^نور عثمان^يوسف الزهراني^سارة العتيبي^فهد "
    "الدوسري^نورة كريم^زينب حسين^علي جابر^رنا صالح^طارق ناصر^دينا"
)
THAI = _listed(
    "สมชาย^ใจดี สมหญิง^รักไทย ประเสริฐ^ศรีสุข วิชัย^ทองดี มาลี^สุขใจ อนุชา^แก้วมณี "
    "นภา^วงศ์สว่าง ธนากร^บุญมี กมล^จันทร์เพ็ญ สุรชัย^พงษ์ไพร อรทัย^แสงทอง ปรีชา^มั่นคง "
    "ชาติชาย^เจริญสุข วรรณา^ศรีวิไล พิมพ์ใจ^ดวงดี สมศักดิ์^ชัยชนะ ดารณี^บุญช่วย "
    "เกียรติ^สง่างาม ลัดดา^พูลสวัสดิ์ มานพ^คำแก้ว"
)
