/**
 * The settings of Vaultwarden 1.37.2 for users, as the image has them. A line with `##` begins a group, one with `#` explains all settings up to
 * the next; a setting is its name (with `*` if the admin page can change it), its type, and its default. Without a default it is unset, for an
 * empty text is a value to the server.
 */
export const serverVariableTable = `
## Start-up
# file of further variables; the admin page's settings
ENV_FILE environment .env
CONFIG_FILE environment data/config.json
# allow an anonymous volume; file mode mask
I_REALLY_WANT_VOLATILE_STORAGE environment
UMASK environment
# zone of logs and mails; outgoing proxy
TZ environment
HTTP_PROXY environment
HTTPS_PROXY environment
NO_PROXY environment
# where it listens (without the image: 8000)
ROCKET_ADDRESS environment 0.0.0.0
ROCKET_PORT environment 80
# {certs="/path",key="/path"}: serve https itself
ROCKET_TLS environment
# threads (number of CPUs); {grace=2,mercy=3}, seconds to stop
ROCKET_WORKERS environment
ROCKET_SHUTDOWN environment

## Folders
# main folder; the others are below it unless set
DATA_FOLDER text data
# database; must be SQLite here
DATABASE_URL text sqlite://data/db.sqlite3
# file trees
ICON_CACHE_FOLDER text data/icon_cache
ATTACHMENTS_FOLDER text data/attachments
SENDS_FOLDER text data/sends
# spool of uploads
TMP_FOLDER text data/tmp
# own templates for mails and pages; development: read them at each request
TEMPLATES_FOLDER text data/templates
RELOAD_TEMPLATES* boolean false
# key that signs logins, without .pem
RSA_KEY_FILENAME text data/rsa_key
# web client
WEB_VAULT_FOLDER text web-vault/
WEB_VAULT_ENABLED boolean true

## Database
# WAL at start; must stay true here
ENABLE_DB_WAL boolean true
# tries at start, 1 s apart; 0 = for ever
DB_CONNECTION_RETRIES u32 15
# seconds to wait for a connection; seconds until an idle one closes
DATABASE_TIMEOUT u64 30
DATABASE_IDLE_TIMEOUT u64 600
# pool size, 1–256
DATABASE_MIN_CONNS u32 2
DATABASE_MAX_CONNS u32 10
# SQL for each new connection, replaces the built-in text
DATABASE_CONN_INIT text

## Notifications to clients
# live sync; false lets a serverless host sleep
ENABLE_WEBSOCKET boolean true
# mobile push, from bitwarden.com/host
PUSH_ENABLED boolean false
PUSH_INSTALLATION_ID text
PUSH_INSTALLATION_KEY text
# for EU accounts: api.bitwarden.eu, identity.bitwarden.eu
PUSH_RELAY_URI text https://push.bitwarden.com
PUSH_IDENTITY_URI text https://identity.bitwarden.com

## Jobs
# scheduler tick; 0 = no jobs
JOB_POLL_INTERVAL_MS u64 30000
# delete expired Sends and their files
SEND_PURGE_SCHEDULE text 0 5 * * * *
# empty the trash, see TRASH_AUTO_DELETE_DAYS
TRASH_PURGE_SCHEDULE text 0 5 0 * * *
# mails about logins that stopped at the second factor
INCOMPLETE_2FA_SCHEDULE text 30 * * * * *
# old device approvals; old Duo state
AUTH_REQUEST_PURGE_SCHEDULE text 30 * * * * *
DUO_CONTEXT_PURGE_SCHEDULE text 30 * * * * *
# reminders about emergency access
EMERGENCY_NOTIFICATION_REMINDER_SCHEDULE text 0 3 * * * *
# grant emergency access after the waiting time
EMERGENCY_REQUEST_TIMEOUT_SCHEDULE text 0 7 * * * *
# delete old events
EVENT_CLEANUP_SCHEDULE text 0 10 0 * * *
# after how many days; unset = never
EVENTS_DAYS_RETAIN i64
# leftovers of SSO logins
PURGE_INCOMPLETE_SSO_AUTH text 0 20 0 * * *

## General
# public URL with scheme and path
DOMAIN* text http://localhost
# features for users
SENDS_ALLOWED* boolean true
EMERGENCY_ACCESS_ALLOWED* boolean true
EMAIL_CHANGE_ALLOWED* boolean true
# key for breach reports
HIBP_API_KEY* text
# KB; 0 = none allowed
USER_ATTACHMENT_LIMIT* i64
ORG_ATTACHMENT_LIMIT* i64
USER_SEND_LIMIT* i64
# days in the trash; unset = for ever
TRASH_AUTO_DELETE_DAYS* i64
# minutes until the mail about an unfinished login; 0 = off
INCOMPLETE_2FA_TIME_LIMIT* i64 3
# anybody may register
SIGNUPS_ALLOWED* boolean true
# only these e-mail domains may; overrides the former
SIGNUPS_DOMAINS_WHITELIST* text
# confirm addresses; seconds between mails; number of mails
SIGNUPS_VERIFY* boolean false
SIGNUPS_VERIFY_RESEND_TIME* u64 3600
SIGNUPS_VERIFY_RESEND_LIMIT* u32 6
# event log of organisations
ORG_EVENTS_ENABLED boolean false
# who may create organisations: all (as unset), none, or addresses
ORG_CREATION_USERS* text
# organisations may invite people who have no account
INVITATIONS_ALLOWED* boolean true
# name in mails without an organisation; validity of mailed links, ≥ 1
INVITATION_ORG_NAME* text Vaultwarden
INVITATION_EXPIRATION_HOURS u32 120
# server-side hashing, at least 100000
PASSWORD_ITERATIONS* i32 600000
# hints; show them without mail
PASSWORD_HINTS_ALLOWED* boolean true
SHOW_PASSWORD_HINT* boolean false
# no welcome screens
CLIENT_SUPPRESS_ONBOARDING* boolean false
# secret of the admin page, best as Argon2 PHC; unset = no admin page
ADMIN_TOKEN* text
# admin page without a secret: only behind another login
DISABLE_ADMIN_TOKEN boolean false
# minutes
ADMIN_SESSION_LIFETIME* i64 20
# admin logins per address: seconds between, and how many at once
ADMIN_RATELIMIT_SECONDS u64 300
ADMIN_RATELIMIT_MAX_BURST u32 3
# login and 2FA, per address
LOGIN_RATELIMIT_SECONDS u64 60
LOGIN_RATELIMIT_MAX_BURST u32 10
# hints, Send access, registration mails
UNAUTHENTICATED_RATELIMIT_SECONDS u64 60
UNAUTHENTICATED_RATELIMIT_MAX_BURST u32 50

## Advanced
# client address behind a proxy; from whom it is believed
IP_HEADER* text X-Real-IP
IP_HEADER_TRUSTED_PROXIES* text local
# internal, bitwarden, duckduckgo, google, or a URL with {}; status of the redirect
ICON_SERVICE text internal
ICON_REDIRECT_CODE* u32 302
# serve cached icons only
DISABLE_ICON_DOWNLOAD* boolean false
# seconds: found, not found, fetch
ICON_CACHE_TTL* u64 2592000
ICON_CACHE_NEGTTL* u64 259200
ICON_DOWNLOAD_TIMEOUT* u64 10
# hosts the server may not fetch from
HTTP_REQUEST_BLOCK_REGEX* text
# nor from private addresses
HTTP_REQUEST_BLOCK_NON_GLOBAL_IPS* boolean true
# deprecated names of the former two
ICON_BLACKLIST_REGEX text
ICON_BLACKLIST_NON_GLOBAL_IPS boolean true
# list of client features
EXPERIMENTAL_CLIENT_FEATURE_FLAGS text
# no login if the new-device mail fails
REQUIRE_DEVICE_EMAIL* boolean false
# trace, debug, info, warn, error, off; per module after commas
LOG_LEVEL text info
# further outputs
LOG_FILE text
USE_SYSLOG boolean false
# time and module in each line
EXTENDED_LOGGING boolean true
LOG_TIMESTAMP_FORMAT* text %Y-%m-%d %H:%M:%S.%3f
# additions to the content security policy
ALLOWED_IFRAME_ANCESTORS* text
ALLOWED_CONNECT_SRC* text
# groups in organisations (beta)
ORG_GROUPS_ENABLED boolean false
# password reset only with the single-organisation policy
ENFORCE_SINGLE_ORG_WITH_RESET_PW_POLICY boolean false
# notes of 100,000 instead of 10,000 characters; clients may fail
INCREASE_NOTE_SIZE_LIMIT* boolean false
# resolve IPv6 first
DNS_PREFER_IPV6* boolean false

## SSO (OpenID Connect)
# log in through a provider; only so
SSO_ENABLED* boolean false
SSO_ONLY* boolean false
# provider and client
SSO_AUTHORITY* text
SSO_CLIENT_ID* text
SSO_CLIENT_SECRET* text
# link accounts by address; also unverified ones
SSO_SIGNUPS_MATCH_EMAIL* boolean true
SSO_ALLOW_UNKNOWN_EMAIL_VERIFICATION* boolean false
# scopes besides openid; further parameters
SSO_SCOPES* text email profile
SSO_AUTHORIZE_EXTRA_PARAMS* text
# PKCE; regex of further accepted audiences
SSO_PKCE* boolean true
SSO_AUDIENCE_TRUSTED* text
# policy as JSON
SSO_MASTER_PASSWORD_POLICY* text
# the provider decides the login, not how long it lasts
SSO_AUTH_ONLY_NOT_SESSION* boolean false
# seconds to cache discovery; log tokens
SSO_CLIENT_CACHE_EXPIRATION* u64 0
SSO_DEBUG_TOKENS* boolean false

## Second factor
# YubiKey OTP
YUBICO_CLIENT_ID* text
YUBICO_SECRET_KEY* text
YUBICO_SERVER* text
# Duo for all users
DUO_IKEY* text
DUO_SKEY* text
DUO_HOST* text
# Duo's old prompt
DUO_USE_IFRAME boolean false
# digits, seconds, tries
EMAIL_TOKEN_SIZE* u8 6
EMAIL_EXPIRATION_TIME* u64 600
EMAIL_ATTEMPTS_LIMIT* u64 3
# e-mail 2FA without being asked
EMAIL_2FA_ENFORCE_ON_VERIFIED_INVITE* boolean false
EMAIL_2FA_AUTO_FALLBACK* boolean false
# ask every time; current code only
DISABLE_2FA_REMEMBER* boolean false
AUTHENTICATOR_DISABLE_TIME_DRIFT* boolean false

## Mail
# mail server and sender's address: both or none
SMTP_HOST* text
SMTP_FROM* text
# sender's name
SMTP_FROM_NAME* text Vaultwarden
# starttls, force_tls (465), off (25)
SMTP_SECURITY* text starttls
SMTP_PORT* u16 587
# login: both or none
SMTP_USERNAME* text
SMTP_PASSWORD* text
# Plain, Login, Xoauth2
SMTP_AUTH_MECHANISM* text
# seconds; name said in HELO
SMTP_TIMEOUT* u64 15
HELO_NAME* text
# pictures inside the mail; log the dialogue, secrets included
SMTP_EMBED_IMAGES* boolean true
SMTP_DEBUG boolean false
# unsafe TLS
SMTP_ACCEPT_INVALID_CERTS* boolean false
SMTP_ACCEPT_INVALID_HOSTNAMES* boolean false
# deprecated, see SMTP_SECURITY
SMTP_SSL boolean
SMTP_EXPLICIT_TLS boolean
# local sendmail
USE_SENDMAIL* boolean false
SENDMAIL_COMMAND text
`;
