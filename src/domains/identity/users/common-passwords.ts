// The commonest passwords of ten characters or more (shorter ones are refused by length), in lower case: the head of
// the lists that credential stuffing begins with.

export const COMMON_PASSWORDS: ReadonlySet<string> = new Set(
  `
  0000000000 0123456789 0987654321 1029384756 1111111111 1122334455 11223344556 112233445566 1231231231
  123123123123 123321123321 1234512345 123454321 1234561234 123456123456 123456789 1234567890
  12345678900 1234567891 12345678910 123456789123 1234567899 123456789a 123456789q 1234567qwerty
  1234qwerasdf 123qweasdzxc 147258369 1472583690 147852369 159753456 1q2w3e4r5t 1qaz2wsx3edc
  1qazxsw23edc 2222222222 3333333333 4444444444 5555555555 6666666666 741852963 7418529630 7777777777
  789456123 7894561230 8888888888 963852741 987654321 9876543210 9876543211 9999999999 a123456789
  a1234567890 aa123456789 aaaaaaaaaa abc1234567 abc123456789 abc123abc123 abcd123456 abcde12345
  abcdefghij abcdefghijk admin12345 admin123456 admin@1234 adminadmin administrator arsenal123
  asdf1234qwer asdfasdfasdf asdfghjkl1 asdfghjklz autumn2025 autumn2026 barcelona1 baseball12
  baseball123 basketball batman1234 changeme12 changeme123 changeme1234 changemenow charlie123
  chelsea123 company123 computer12 computer123 correcthorsebatterystaple default123 dragon1234
  facebook12 facebook123 football12 football123 google1234 guest12345 ihateyou12 iloveyou12 iloveyou123
  iloveyou1234 iloveyouso internet12 internet123 january2025 jennifer12 jennifer123 jonathan12
  killer1234 letmein123 letmein1234 letmeinplease liverpool1 liverpool123 manchester manutd1234
  master1234 michael123 monkey1234 mypassword mypassword1 mypassword123 p@ssw0rd123 p@ssword123
  passport123 passw0rd123 password1! password12 password123 password123! password1234 password12345
  passwordpassword pokemon123 princess12 princess123 q1w2e3r4t5 q1w2e3r4t5y6 qazwsxedc1 qazwsxedcrfv
  qweasdzxc1 qweasdzxc123 qwer1234asdf qwerty12345 qwerty123456 qwertyqwerty qwertyuiop qwertyuiop123
  realmadrid rootroot12 samsung123 secret1234 secret12345 secret123456 security123 shadow1234 spring2025
  spring2026 starwars12 starwars123 summer2023 summer2024 summer2025 summer2026 sunshine12 sunshine123
  superman12 superman123 temporary1 temppassword test123456 test1234567 testpassword testtest12
  testtest123 thisismypassword thomas1234 trustno1234 welcome123 welcome123! welcome1234 welcome2024
  welcome2025 welcome2026 whatever12 whatever123 winter2023 winter2024 winter2025 winter2026
  zaq12wsxcde3 zxcvbnm123 zxcvbnm1234 zxcvbnmasdfghjkl
  `
    .trim()
    .split(/\s+/),
)
