import { describe, expect, it } from 'vitest'
import { confine } from '../../src/data/guard'
// The tables put themselves on the guard's list when they are loaded.
import '../../src/app'

const MINE = '0197b3c2-0000-7000-8000-00000000000a'
const THEIRS = '0197b3c2-0000-7000-8000-00000000000b'

/** Statements that reach only the tenant's own rows; the parameters that count are MINE. */
const ALLOWED: [string, unknown[]][] = [
  ['select * from users where tenant_id = ?', [MINE]],
  ['select "id" from "users" where ("users"."tenant_id" = ? and "users"."id" = ?)', [MINE, THEIRS]],
  ['SELECT u.id FROM users AS u WHERE u.id = ? AND u.tenant_id = ?', ['x', MINE]],
  ['select count(*) from users where tenant_id = ? and (role = ? or role = ?) limit 3', [MINE, 'a', 'b']],
  ['select * from users where tenant_id = ? and id in (?, ?, ?)', [MINE, 'a', 'b', 'c']],
  ['select * from users where tenant_id = ? and created_at between ? and ?', [MINE, 'a', 'b']],
  ['select role, count(*) as n from users where tenant_id = ? group by role having n > 1', [MINE]],
  ['select 1', []],
  [`select json_extract('{}', case when changes() > 0 then '$' else 'guard:0' end)`, []],
  [
    'select * from users join sessions on sessions.tenant_id = users.tenant_id and sessions.user_id = users.id where users.tenant_id = ?',
    [MINE],
  ],
  [
    'select * from users left join sessions on (sessions.tenant_id = ? and sessions.user_id = users.id) where users.tenant_id = ?',
    [MINE, MINE],
  ],
  [
    'select * from users where tenant_id = ? and exists (select 1 from sessions as s where s.tenant_id = users.tenant_id)',
    [MINE],
  ],
  [
    'select * from users where tenant_id = ? and id in (select user_id from sessions where tenant_id = ?)',
    [MINE, MINE],
  ],
  ['select * from users where tenant_id = ? and id in (select value from json_each(?))', [MINE, '[]']],
  [
    'select f.chat_id from chat_words join chat_finders as f on f.seq = chat_words.rowid where chat_words match ? and f.tenant_id = ?',
    ['x', MINE],
  ],
  ['select x.n from (select count(*) as n from users where tenant_id = ?) as x', [MINE]],
  ['with mine as (select * from users where tenant_id = ?) select * from mine', [MINE]],
  [
    'select id from users where tenant_id = ? union all select id from sessions where tenant_id = ?',
    [MINE, MINE],
  ],
  ['select 1 from tenants where tenants.id = ? and json_extract(settings, ?) = 0', [MINE, '$.x']],
  ['select * from users join tenants on tenants.id = users.tenant_id where users.tenant_id = ?', [MINE]],
  ['insert into users (tenant_id, id) values (?, ?)', [MINE, 'a']],
  ['insert into "users" ("id", "tenant_id") values (?, ?), (?, ?) returning "id"', ['a', MINE, 'b', MINE]],
  ['insert into users (tenant_id, id) values (?, ?) on conflict do nothing', [MINE, 'a']],
  [
    'insert into users (tenant_id, id) values (?, ?) on conflict (tenant_id, id) do update set email = excluded.email',
    [MINE, 'a'],
  ],
  [
    'insert or ignore into sessions (tenant_id, id) select u.tenant_id, u.id from users as u where u.tenant_id = ?',
    [MINE],
  ],
  [
    'insert into sessions (id, tenant_id) select id, ? as tenant_id from users where tenant_id = ?',
    [MINE, MINE],
  ],
  ['update users set email = ? where tenant_id = ? and id = ?', ['e', MINE, 'a']],
  ['update "users" set "tenant_id" = ?, "email" = ? where "users"."tenant_id" = ?', [MINE, 'e', MINE]],
  [
    'update users set email = t.email from (select value as id, value as email from json_each(?)) as t where users.tenant_id = ? and users.id = t.id',
    ['[]', MINE],
  ],
  [
    'update users set role = s.id from sessions as s where s.tenant_id = users.tenant_id and users.tenant_id = ?',
    [MINE],
  ],
  ['delete from users where tenant_id = ? and id = ?', [MINE, 'a']],
  ['select * from users -- or 1 = 1\n where tenant_id = ?', [MINE]],
  ['select * from users where tenant_id = ? and email is distinct from ?', [MINE, 'e']],
]

/** Statements that could reach rows of another tenant, or that can't be judged. */
const REFUSED: [string, unknown[]][] = [
  // an index of words leads to rows that must be bound, and is written by triggers alone
  ['select f.chat_id from chat_words join chat_finders as f on f.seq = chat_words.rowid', []],
  ['insert into chat_words (rowid, words) values (?, ?)', [1, 'x']],
  ['delete from chat_words where rowid = ?', [1]],
  ['select * from chat_words_data', []],
  // no tenant, or another one
  ['select * from users', []],
  ['select * from users where id = ?', ['a']],
  ['select * from users where tenant_id = ?', [THEIRS]],
  ['select * from users where tenant_id = ? and tenant_id = ?', [MINE, THEIRS]],
  [`select * from users where tenant_id = '${MINE}'`, []],
  ['select * from users where tenant_id in (?, ?)', [MINE, THEIRS]],
  ['select * from users where tenant_id <> ?', [MINE]],
  ['select * from users where tenant_id like ?', [MINE]],
  ['select * from users where tenant_id = tenant_id', []],
  ['select * from users where users.tenant_id = users.tenant_id and id = ?', [MINE]],
  ['select * from users where tenant_id = ?1', [MINE]],
  ['select * from users where tenant_id = :tenant', [MINE]],
  // a condition that need not hold
  ['select * from users where tenant_id = ? or id = ?', [MINE, 'a']],
  ['select * from users where (tenant_id = ? and role = ?) or id = ?', [MINE, 'a', 'b']],
  ['select * from users where ((tenant_id = ? and role = ?) or id = ?)', [MINE, 'a', 'b']],
  ['select * from users where tenant_id = ? and role = ? or id = ?', [MINE, 'a', 'b']],
  ['delete from users where id = ? or role = ? and tenant_id = ?', ['a', 'b', MINE]],
  ['select * from users where not tenant_id = ?', [MINE]],
  ['select * from users where not (tenant_id = ?)', [MINE]],
  ['select * from users where case when tenant_id = ? then 1 else 1 end', [MINE]],
  ['select * from users where case when 1 and tenant_id = ? and 1 then 1 else 1 end', [MINE]],
  ['select * from users where id between ? and tenant_id = ?', ['a', MINE]],
  ['select * from users where tenant_id = ? = 0', [MINE]],
  ['select tenant_id = ? from users', [MINE]],
  ['select ? as tenant_id, id from users', [MINE]],
  ['select * from users group by id having tenant_id = ?', [MINE]],
  ['select * from users -- where tenant_id = ?', [MINE]],
  ['select * from users /* where tenant_id = ? */', [MINE]],
  // a table beside the one that is bound
  ['select * from users, sessions where users.tenant_id = ?', [MINE]],
  ['select * from users join sessions on sessions.user_id = users.id where users.tenant_id = ?', [MINE]],
  ['select * from users join sessions on 1 where users.tenant_id = ? and users.tenant_id = ?', [MINE, MINE]],
  [
    'select * from users left join sessions on users.tenant_id = ? and sessions.tenant_id = users.tenant_id',
    [MINE],
  ],
  [
    'select * from users right join sessions on sessions.tenant_id = users.tenant_id where users.tenant_id = ?',
    [MINE],
  ],
  [
    'select * from users full join sessions on sessions.tenant_id = ? where users.tenant_id = ?',
    [MINE, MINE],
  ],
  ['select * from users natural join sessions where users.tenant_id = ?', [MINE]],
  ['select * from users as a join users as b on a.id = b.id where a.tenant_id = ?', [MINE]],
  ['select * from users where tenant_id = ? union select * from users', [MINE]],
  ['select * from users where tenant_id = ? and id in (select user_id from sessions)', [MINE]],
  ['select * from users where tenant_id = ? and id in sessions', [MINE]],
  ['select * from users where tenant_id = ? and exists (select 1 from sessions where id = users.id)', [MINE]],
  ['select (select email from users limit 1)', []],
  ['select * from (users) where 1', []],
  ['select * from (select * from users) as x where x.tenant_id = ?', [MINE]],
  ['with all_of_them as (select * from users) select * from all_of_them where tenant_id = ?', [MINE]],
  [
    'select * from users where id in (with users as (select 1 as id) select id from users where id = ?)',
    [MINE],
  ],
  ['with users as (select 1 as tenant_id) select * from users where tenant_id = ?', [MINE]],
  ['select * from json_each((select json_group_array(email) from users))', []],
  ['select count(*) over (order by (select email from users)) from sessions where tenant_id = ?', [MINE]],
  // what is no tenant's table
  ['select * from signing_keys', []],
  ['select * from sqlite_master', []],
  ['select * from main.users where tenant_id = ?', [MINE]],
  [`select * from pragma_table_info('users')`, []],
  ['select * from tenants', []],
  ['select * from tenants where slug = ?', [MINE]],
  ['select * from tenants where tenants.id = ?', [THEIRS]],
  ['update tenants set plan = ? where tenants.id = ?', ['pro', MINE]],
  ['delete from tenants where tenants.id = ?', [MINE]],
  ['insert into tenants (id, tenant_id) values (?, ?)', [MINE, MINE]],
  // inserts
  ['insert into users (id) values (?)', ['a']],
  ['insert into users values (?, ?)', [MINE, 'a']],
  ['insert into users default values', []],
  ['insert into users (tenant_id, id) values (?, ?)', [THEIRS, MINE]],
  ['insert into users (tenant_id, id) values (?, ?), (?, ?)', [MINE, 'a', THEIRS, 'b']],
  ['insert into users (tenant_id, id) values (upper(?), ?)', [MINE, 'a']],
  [`insert into users (tenant_id, id) values ('x', ?)`, [MINE]],
  ['insert into users (tenant_id, id) values (?, (select id from users limit 1))', [MINE]],
  ['insert into sessions (tenant_id, id) select tenant_id, id from users', []],
  ['insert into sessions (tenant_id, id) select id, tenant_id from users where tenant_id = ?', [MINE]],
  ['insert into sessions (tenant_id, id) select ?, id from users where tenant_id = ?', [THEIRS, MINE]],
  ['insert into sessions (tenant_id, id) select * from users where tenant_id = ?', [MINE]],
  [
    'insert into sessions (tenant_id, id) select tenant_id, id from users where tenant_id = ? union select ?, ?',
    [MINE, THEIRS, 'a'],
  ],
  ['replace into users (tenant_id, id) values (?, ?)', [MINE, 'a']],
  ['insert or replace into users (tenant_id, id) values (?, ?)', [MINE, 'a']],
  [
    'insert into refresh_tokens (tenant_id, hash) values (?, ?) on conflict (hash) do update set session_id = ?',
    [MINE, 'h', 's'],
  ],
  ['insert into users (tenant_id, id) values (?, ?) on conflict do update set email = ?', [MINE, 'a', 'e']],
  [
    'insert into users (tenant_id, id) values (?, ?) on conflict (tenant_id, id) do update set tenant_id = ?',
    [MINE, 'a', THEIRS],
  ],
  [
    'insert into users (tenant_id, id) values (?, ?) on conflict (tenant_id, id) do update set email = (select email from users)',
    [MINE, 'a'],
  ],
  // changes
  ['update users set email = ?', ['e']],
  ['update users set tenant_id = ?', [MINE]],
  ['update users set tenant_id = ? where tenant_id = ?', [THEIRS, MINE]],
  ['update users set tenant_id = id where tenant_id = ?', [MINE]],
  ['update users set (tenant_id, id) = (?, ?) where tenant_id = ?', [THEIRS, 'a', MINE]],
  ['update users set email = (select email from users limit 1) where tenant_id = ?', [MINE]],
  ['update users set email = s.id from sessions as s where users.tenant_id = ?', [MINE]],
  ['update users set email = s.id from sessions as s where s.tenant_id = ?', [MINE]],
  ['update or replace users set email = ? where id = ?', ['e', 'a']],
  ['delete from users', []],
  ['delete from users where id in (select id from users where tenant_id = ?)', [MINE]],
  ['delete from users where tenant_id = ? or 1', [MINE]],
  // what is no statement on rows
  ['drop table users', []],
  ['alter table users rename to other', []],
  ['pragma table_info(users)', []],
  ['attach database ? as other', ['x']],
  ['create trigger t after insert on users begin delete from users; end', []],
  ['select 1; delete from users', []],
  ['vacuum', []],
]

describe('the guard', () => {
  for (const [sql, params] of ALLOWED)
    it(`lets through: ${sql}`, () => {
      expect(() => confine(sql, params, MINE)).not.toThrow()
      // The same statement of another tenant's database is refused, if it touches a table at all.
      if (params.includes(MINE)) expect(() => confine(sql, params, THEIRS)).toThrow('statement refused')
    })

  for (const [sql, params] of REFUSED)
    it(`refuses: ${sql}`, () => {
      expect(() => confine(sql, params, MINE)).toThrow('statement refused')
    })
})
