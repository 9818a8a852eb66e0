//! The vault's secrets, and its end. None of these commands needs a daemon, and all of them work
//! beside one.

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::Path;

use clap::Subcommand;
use rand_core::SeedableRng as _;
use whist_rt::{Exit, Failure, keys};
use whist_timing::Rng;
use zeroize::Zeroizing;

use super::{Context, socket, start, streams};
use crate::call::{Call, Hidden};
use crate::leave;
use crate::limits::CHECK_MAX;
use crate::passphrase::{NewSource, Source};
use crate::vault::{Change, Credential, Factor, Phrase, Vault as Store, VaultError};

#[derive(Debug, Subcommand)]
pub(super) enum Vault {
    /// Change the passphrase, or set one for duress.
    #[command(after_help = "Examples: whist passwd
  whist passwd --duress    set a passphrase that opens an empty decoy and destroys what is here")]
    Passwd {
        /// Set the passphrase that opens a decoy and ends the real vault for good.
        #[arg(long)]
        duress: bool,
        #[command(flatten)]
        new: NewSource,
    },
    /// The recovery phrase: 24 words that open the vault when the passphrase is forgotten.
    #[command(after_help = "Example: whist recovery show")]
    Recovery {
        #[command(subcommand)]
        command: Recovery,
    },
    /// Set a new passphrase with the recovery phrase, which is asked for in place of the old one.
    #[command(after_help = "Example: whist recover")]
    Recover {
        #[command(flatten)]
        new: NewSource,
    },
    /// Forget everything until `unlock`. Packets go on, and nobody on the wire can tell.
    #[command(after_help = "Example: whist lock")]
    Lock,
    /// Open a vault that is locked.
    #[command(after_help = "Example: whist unlock")]
    Unlock,
    /// Destroy everything at once and end the daemon. Asks for no passphrase.
    #[command(after_help = "Example: whist panic --yes")]
    Panic {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Destroy everything, after the passphrase was given.
    #[command(after_help = "Example: whist wipe")]
    Wipe,
}

#[derive(Debug, Subcommand)]
pub(super) enum Recovery {
    /// Make a new phrase and show it once; an earlier one opens nothing from then on.
    #[command(after_help = "Example: whist recovery show")]
    Show,
    /// Check a phrase that was written down: it is asked for in place of the passphrase.
    #[command(after_help = "Example: whist recovery test")]
    Test,
}

impl Vault {
    pub(super) fn run(self, context: &Context) -> Result<(), Failure> {
        if !matches!(self, Self::Panic { .. } | Self::Lock) && !context.can_be_told_the_passphrase()
        {
            let why = "no terminal: use --passphrase-file or --passphrase-command";
            return Err(Failure::new(Exit::Usage, why));
        }
        match self {
            Self::Passwd { duress, new } => passwd(context, duress, new),
            Self::Recovery { command } => match command {
                Recovery::Show => show(context),
                Recovery::Test => test(context),
            },
            Self::Recover { new } => recover(context, new),
            Self::Lock => lock(context),
            Self::Unlock => unlock(context),
            Self::Panic { yes } => panic(context, yes),
            Self::Wipe => wipe(context),
        }
    }
}

/// Nothing is typed for a vault that others could exchange.
pub(super) fn check(home: &Path) -> Result<(), Failure> {
    keys::check_folder(home)?;
    if Store::is_unfinished(home) {
        return Err(VaultError::Unfinished.into());
    }
    for file in Store::files(home) {
        keys::check_file(&file)?;
    }
    Ok(())
}

fn rng() -> Result<Rng, Failure> {
    Ok(Rng::from_seed(*whist_rt::seed()?.expose()))
}

fn said(context: &Context, text: &str) -> Result<(), Failure> {
    let json = serde_json::json!({ "done": true });
    match context.json {
        true => streams::print(&json.to_string()),
        false => streams::print(text),
    }
}

fn passwd(context: &Context, duress: bool, new: NewSource) -> Result<(), Failure> {
    check(&context.home)?;
    let known = context.passphrase.read(false)?;
    let name = if duress {
        "Duress passphrase"
    } else {
        "New passphrase"
    };
    let new = new_credential(&new.source(&context.passphrase), name)?;
    let change = opened(context, known)?;
    if duress {
        change.duress(&new)?;
        return said(
            context,
            "set. It opens an empty decoy, and what is here is gone then",
        );
    }
    change.passphrase(&new)?;
    said(
        context,
        "changed. An old copy of the folder still opens with the old passphrase",
    )
}

/// The slots, opened by the passphrase. A daemon that runs is asked for its word first: what it has
/// in memory gives way to the decoy as what is on the disk does.
fn opened(context: &Context, known: Zeroizing<Vec<u8>>) -> Result<Change, Failure> {
    let source = &context.passphrase;
    let mut asked = false;
    if let (Ok((passphrase, key)), Ok(stream)) = (told(source, &known), socket::connect(context)) {
        let call = Call::Check { passphrase, key };
        // Of one that hangs nothing is expected.
        let _ = stream.set_read_timeout(Some(CHECK_MAX));
        match socket::ask(stream, &call) {
            Err(failure) if failure.exit == Exit::Locked => return Err(failure),
            told => asked = told.is_ok(),
        }
    }
    change(&context.home, &source.joined(known, false)?, asked)
}

/// The same. A daemon that was not asked is ended, as by `panic`, by every secret that opens the
/// vault: if only that of the decoy ended it, who watches would know which one was given.
fn change(home: &Path, by: &Credential, asked: bool) -> Result<Change, Failure> {
    let change = match Change::open(home, by, rng()?) {
        Err(VaultError::InUse) => None,
        opened => Some(opened?),
    };
    if change.is_none() || !asked {
        leave::end_daemon(home);
    }
    match change {
        Some(change) => Ok(change),
        None => Ok(Change::open(home, by, rng()?)?),
    }
}

fn new_credential(source: &Source, name: &str) -> Result<Credential, Failure> {
    let known = source.read_as(name, true)?;
    let present = source.key_file.as_deref();
    Ok(Credential::new(known).with(Source::factor(present)?))
}

fn phrase(source: &Source) -> Result<Phrase, Failure> {
    let text = source.read_as("Recovery phrase, 24 words", false)?;
    let text = std::str::from_utf8(&text)
        .map_err(|_| Failure::new(Exit::Usage, "a recovery phrase is plain words"))?;
    Phrase::parse(text).map_err(|error| Failure::new(Exit::Usage, error.to_string()))
}

fn show(context: &Context) -> Result<(), Failure> {
    check(&context.home)?;
    let change = opened(context, context.passphrase.read(false)?)?;
    let phrase = Phrase::random(&mut rng()?);
    change.recovery(&phrase.credential())?;
    let words: Vec<&str> = phrase.words().collect();
    context.say("write these down, keep them apart from the machine; they are not shown again")?;
    let json = serde_json::json!({ "phrase": words.join(" ") });
    match context.json {
        true => streams::print(&json.to_string()),
        false => streams::print(&words.join(" ")),
    }
}

fn test(context: &Context) -> Result<(), Failure> {
    check(&context.home)?;
    let phrase = phrase(&context.passphrase)?;
    Store::probe(&context.home, &phrase.credential())?;
    said(context, "this phrase opens the vault")
}

fn recover(context: &Context, new: NewSource) -> Result<(), Failure> {
    check(&context.home)?;
    let phrase = phrase(&context.passphrase)?;
    let new = new_credential(&new.source(&context.passphrase), "New passphrase")?;
    // No phrase opens the decoy before it has taken over: there is nothing to ask a daemon for.
    let change = change(&context.home, &phrase.credential(), true)?;
    change.passphrase(&new)?;
    said(context, "the vault has a new passphrase")
}

/// Nobody is started to be locked.
fn lock(context: &Context) -> Result<(), Failure> {
    context.name_socket()?;
    socket::ask(socket::connect(context)?, &Call::Lock {})?;
    said(context, "locked; packets go on")
}

/// Opens the vault of the daemon that runs, or starts one, which opens it.
fn unlock(context: &Context) -> Result<(), Failure> {
    check(&context.home)?;
    context.name_socket()?;
    // Whoever listens there gets the passphrase: `connect` shows that it is this user.
    match socket::connect(context) {
        Err(failure) if failure.exit == Exit::NoDaemon && context.starts => {
            drop(start::connect(context)?);
        }
        stream => {
            let call = unlocking(&context.passphrase)?;
            socket::ask(stream?, &call)?;
        }
    }
    said(context, "open")
}

fn unlocking(source: &Source) -> Result<Call, Failure> {
    let (passphrase, key) = told(source, &source.read(false)?)?;
    Ok(Call::Unlock { passphrase, key })
}

/// A passphrase in the form in which a daemon is told of it.
fn told(source: &Source, known: &[u8]) -> Result<(Hidden, Option<Hidden>), Failure> {
    let known = std::str::from_utf8(known).map_err(|_| {
        let why = "this passphrase is no text: end the daemon, and start it with the passphrase";
        Failure::new(Exit::Usage, why)
    })?;
    let key = match Source::factor(source.key_file.as_deref())? {
        Factor::Nothing => None,
        Factor::KeyFile(key) => Some(Hidden::new(data_encoding::HEXLOWER.encode(key.expose()))),
    };
    Ok((Hidden::new(known.to_owned()), key))
}

fn panic(context: &Context, yes: bool) -> Result<(), Failure> {
    if !yes && context.asks && !confirmed(&context.home)? {
        return Err(Failure::new(Exit::Refused, "nothing was destroyed"));
    }
    leave::destroy(&context.home, &context.socket)?;
    said(context, "gone")
}

fn wipe(context: &Context) -> Result<(), Failure> {
    check(&context.home)?;
    let by = context.passphrase.credential(false)?;
    Store::probe(&context.home, &by)?;
    leave::destroy(&context.home, &context.socket)?;
    said(context, "gone")
}

/// Asks once, if there is a terminal to ask on; without one there is nobody to ask.
fn confirmed(home: &Path) -> Result<bool, Failure> {
    let terminal = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/tty");
    let Ok(mut terminal) = terminal else {
        return Ok(true);
    };
    let unreadable = |_| Failure::new(Exit::Usage, "the terminal cannot be read: use --yes");
    let home = home.display();
    write!(
        terminal,
        "Destroy everything in {home} for good? Type yes: "
    )
    .map_err(unreadable)?;
    let mut line = String::new();
    std::io::BufReader::new(terminal.take(64))
        .read_line(&mut line)
        .map_err(unreadable)?;
    Ok(matches!(line.trim(), "yes" | "y"))
}
